-- Tells a node what it has missed: the next messages by sequence and channel, and what else became of channels.
-- ARGV: 5 age · 6 the sequence to begin behind · 7 its epoch · 8 how many deletions the node knows of.
-- Gives epoch, head, beyond, forgets; sequence, channel and size of each message; how far this got, whether nothing was
-- left; the channels that lost messages, that have ended, and that were deleted since; whether those were all.
local ROWS, CHANNELS = 2000, 2000
guard()
expire(num(ARGV[5]), 100)
save()

local after = ARGV[7] == epoch and num(ARGV[6]) or 0
local rows = redis.call('XRANGE', T, str(after + 1) .. '-0', '+', 'COUNT', ROWS)
local found = {}
for _, row in ipairs(rows) do
    local n = #found
    local _, bytes = sizes_of(row[2][6])
    found[n + 1], found[n + 2], found[n + 3] = seq_of(row[1]), row[2][2], bytes
end
local complete = #rows < ROWS
local position = complete and seq or seq_of(rows[#rows][1])
local behind = '(' .. str(after)
local lost = redis.call('ZRANGEBYSCORE', E .. 'lost', behind, '+inf', 'LIMIT', 0, CHANNELS)
local ended = redis.call('ZRANGEBYSCORE', E .. 'ended', behind, '+inf', 'LIMIT', 0, CHANNELS)
local gone = redis.call('ZRANGEBYSCORE', E .. 'gone', '(' .. ARGV[8], '+inf', 'LIMIT', 0, CHANNELS)
local all = #lost < CHANNELS and #ended < CHANNELS and #gone < CHANNELS and unknown <= after
return cmsgpack.pack({ epoch, seq, beyond, forgets, found, position, complete, lost, ended, gone, all })
