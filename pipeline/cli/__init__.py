"""The `tokentrail` command. Each command is a module; heavy imports happen inside it, so that `--help` is quick."""
