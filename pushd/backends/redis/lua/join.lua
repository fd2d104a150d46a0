-- Makes a node known to this run of Redis. A Redis that was restarted, or has taken over from another one, may have
-- forgotten sequences that it had given out. They must never be given again: the log leaps over them.
-- ARGV: 5 epoch and 6 sequence up to which the node knows of messages. Gives epoch, head, beyond, time, deletions.
local LEAP, LEAPS = 1e9, 64
if run ~= ARGV[3] then
    redis.call('HSET', LOG, 'run', ARGV[3])
    if seq > 0 then
        local to = (math.floor(seq / LEAP) + 1) * LEAP
        redis.call('RPUSH', E .. 'leaps', str(seq) .. ' ' .. str(to))
        redis.call('LTRIM', E .. 'leaps', -LEAPS, -1)
        seq, log_dirty = to, true
    end
end
if ARGV[5] == epoch then prove(num(ARGV[6])) end
save()
return cmsgpack.pack({ epoch, seq, beyond, ms, forgets })
