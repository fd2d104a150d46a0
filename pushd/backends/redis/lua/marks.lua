-- Changes the marks of channels, with the events of hooks; see vacant.lua. ARGV: 5 to 10 as in hook.lua · 11 one of
-- `due`, 12 how many at most: the channels that have had no marks for a while
-- `change`, 12 owner · 13 the token of the marks as the node knows it · 14 milliseconds in which nodes mark their channels
--   again after a loss · 15 MessagePack: changes and hooks, each its name, events and bytes at most; of each change
--   channel, one of mark, unmark, vacate, whether Redis had the mark (1) or is to add no event (2), and hooks and events
--   in turn
-- Gives of `change` the token, the channels that have to wait, and whether events were added; false, and does nothing, if
-- the owner has no lease.
MESSAGES, BYTES, AGE, TOTAL, CHANNELS = num(ARGV[5]), num(ARGV[6]), num(ARGV[7]), num(ARGV[8]), num(ARGV[9])
set_retentions(ARGV[10])
if ARGV[11] == 'due' then
    if redis.call('EXISTS', PAUSE) == 1 then return cmsgpack.pack({}) end
    return cmsgpack.pack(redis.call('ZRANGEBYSCORE', VACANT, '-inf', str(lease_now), 'LIMIT', 0, num(ARGV[12])))
end
local owner, known, given = ARGV[12], ARGV[13], cmsgpack.unpack(ARGV[15])
if not is_held(owner) then return cmsgpack.pack(false) end
local own, token, waits, added = MARKS_OF .. owner, redis.call('GET', TOKEN), {}, false
if not token then
    token = ARGV[2]
    redis.call('SET', TOKEN, token)
    if known ~= '' then redis.call('SET', PAUSE, '1', 'PX', ARGV[14]) end
end
local is_lost = known ~= '' and known ~= token
local is_paused = redis.call('EXISTS', PAUSE) == 1

local function add_events(ch, words)
    for i = 1, #words, 2 do
        add_event(words[i], ch, words[i + 1])
        added = true
    end
end

for _, c in ipairs(given[1]) do
    local ch, kind, state, words = c[1], c[2], c[3], c[4]
    if kind == 'mark' then
        if redis.call('SISMEMBER', own, ch) == 0 then
            local is_new = not is_marked(ch) and not redis.call('ZSCORE', VACANT, ch)
            local is_quiet = state == 2 or (state == 1 and is_lost)
            if is_new and is_paused and not is_quiet then
                waits[#waits + 1] = ch
            else
                redis.call('SADD', own, ch)
                if is_new and not is_quiet then add_events(ch, words) end
            end
        end
        redis.call('ZREM', VACANT, ch)
    elseif kind == 'unmark' then
        if redis.call('SREM', own, ch) == 1 or is_lost then begin_vacancy(ch) end
    else
        local due = redis.call('ZSCORE', VACANT, ch)
        if due and tonumber(due) <= lease_now then
            redis.call('ZREM', VACANT, ch)
            if not is_marked(ch) then add_events(ch, words) end
        end
    end
end
if redis.call('EXISTS', own) == 1 then note_owner('marks', owner) else forget_owner('marks', owner) end
for _, each in ipairs(given[2]) do trim_hook(each[1], each[2], each[3]) end
save_hooks()
save()
return cmsgpack.pack({ token, waits, added })
