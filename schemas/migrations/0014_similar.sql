-- What an answer is like: the 64 smallest hashes of its words, from which it can be told how many words two answers
-- share (the names of a message's fields are none of them).
-- Made by the server out of redacted text, beside it and under its grants; it lives, changes and dies with it.
ALTER TABLE {database}.call_content
    ADD COLUMN IF NOT EXISTS output_sketch Array(UInt32) MATERIALIZED
        arraySlice(arraySort(arrayDistinct(arrayMap(
            word -> toUInt32(bitAnd(sipHash64(word), 4294967295)),
            arrayFilter(
                word -> NOT has(['role', 'assistant', 'content', 'type', 'text'], word),
                extractAll(lowerUTF8(output), '[\\p{L}\\p{N}_]{3,}')
            )
        ))), 1, 64) CODEC(ZSTD(1)) COMMENT 'smallest hashes of its words';
