-- Deletes a channel with all its messages: ARGV 5 channel · 6 how many deleted ones to remember · 7 whether it is told
-- although it is not known. Gives whether it was known.
local ch = ARGV[5]
local r = record(ch)
local known = r and r.gone == 0
if known then
    while r.n > 0 do lose_oldest(ch, 'evicted') end
    note_loss(r, math.max(r.lost, r.last), r.at, 'evicted')
    -- The deletion has a sequence of its own, by which older cursors are told from newer ones.
    seq, forgets, log_dirty = seq + 1, forgets + 1, true
    r.gone, r.ended = seq, 0
    for _, set in ipairs({ E .. 'names', live_of(ch), idle_of(ch), E .. 'ended' }) do redis.call('ZREM', set, ch) end
    redis.call('ZADD', E .. 'gone', forgets, ch)
    if redis.call('ZCARD', E .. 'gone') > num(ARGV[6]) then
        local oldest = redis.call('ZPOPMIN', E .. 'gone')[1]
        local old = record(oldest)
        if old and old.lost > unknown then unknown = old.lost end
        drop_record(oldest)
    end
    save()
end
if known or ARGV[7] == '1' then
    redis.call('PUBLISH', F .. 'f:' .. ch, 'x ' .. epoch .. ' ' .. str(forgets) .. '\n' .. ch)
end
return known and 1 or 0
