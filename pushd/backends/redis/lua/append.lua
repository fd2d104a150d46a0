-- Takes messages into the log. Beside dead letters a script has channels of one group only: those of presence events, or
-- others. The script sets the bounds: messages and bytes of a channel, the age of all, the bytes and the number of all channels.
local MESSAGES, BYTES, AGE, TOTAL, CHANNELS
-- The retention of channels that have one of their own: messages, bytes and age, 0 for that of all.
local retentions = {}
local EVICTIONS = 5000
local DEAD_TOTAL, DEAD_CHANNELS = 67108864, 1000

-- Sets retentions, as of publish.lua.
local function set_retentions(packed)
    local own = packed ~= '' and cmsgpack.unpack(packed) or {}
    for i = 1, #own, 4 do retentions[own[i]] = { own[i + 1], own[i + 2], own[i + 3] } end
end

local counts = {}

local function forget_idle(ch)
    local oldest = redis.call('ZPOPMIN', idle_of(ch))[1]
    if not oldest then return false end
    local r = record(oldest)
    if r and r.lost > unknown then unknown = r.lost end
    redis.call('ZREM', E .. 'names', oldest)
    drop_record(oldest)
    counts[group_of(ch)] = counts[group_of(ch)] - 1
    return true
end

local function take(ch)
    local r = record(ch)
    if r and r.gone == 0 then return r end
    guard()
    local group = group_of(ch)
    counts[group] = counts[group] or (group == '' and channels() or channels_of(group))
    if counts[group] >= (group == 'dead:' and DEAD_CHANNELS or CHANNELS) and not forget_idle(ch) then return nil end
    local new = { last = 0, at = 0, ended = 0, lost = unknown, lat = 0, why = 'unknown', n = 0, b = 0, gone = 0,
        age = r and r.age or 0 }
    if r then
        keep_old(r)
        new.old = r.old
        redis.call('ZREM', E .. 'gone', ch)
        if r.lost > unknown then new.lost, new.lat, new.why = r.lost, r.lat, r.why end
    end
    -- What it takes over of all that is forgotten was never among its own losses.
    new.old = new.old or { 0, 0, '' }
    records[ch] = new
    redis.call('ZADD', E .. 'names', 0, ch)
    counts[group] = counts[group] + 1
    return new
end

local MS = str(ms)

local function keep(ch, r, id, body, sizes, ttl)
    local data, size = sizes_of(sizes)
    local messages, bytes, age, left = MESSAGES, BYTES, 0, EVICTIONS
    if retentions[ch] then messages, bytes, age = unpack(retentions[ch]) end
    if r.age ~= age then set_age(ch, r, age) end
    if messages == 0 or data > bytes then
        while r.n > 0 and left > 0 do
            lose_oldest(ch, 'evicted')
            left = left - 1
        end
        note_loss(r, seq, ms, 'evicted')
        return
    end
    if ttl > 0 then
        redis.call('XADD', E .. 's:' .. ch, id, 't', MS, 'z', sizes, 'm', body, 'l', '1')
        redis.call('XADD', T, id, 'c', ch, 't', MS, 'z', sizes, 'l', '1')
        redis.call('ZADD', E .. 'ttl', ms + ttl, str(seq) .. ':' .. ch)
        if not has_ttl then redis.call('HSET', LOG, 'ttl', 1) end
        has_ttl = true
    else
        redis.call('XADD', E .. 's:' .. ch, id, 't', MS, 'z', sizes, 'm', body)
        redis.call('XADD', T, id, 'c', ch, 't', MS, 'z', sizes)
    end
    kept = kept + 1
    add_cost(ch, size + BOOKKEEPING)
    r.n, r.b, r.used = r.n + 1, r.b + data, seq
    if age > 0 then redis.call('ZADD', E .. 'aging', 'NX', ms + age, ch) end
    while (r.n > messages or r.b > bytes) and left > 0 do
        lose_oldest(ch, 'evicted')
        left = left - 1
    end
end

-- `live`: what subscribers get instead of the body; empty for the same.
local function accept(ch, body, sizes, ttl, kind, live)
    local r = take(ch)
    if not r then return -1, 0 end
    local prev, was_idle = r.last, r.n == 0
    seq, log_dirty, r.dirty = seq + 1, true, true
    local id = str(seq)
    local head = 'm ' .. epoch .. ' ' .. id .. ' ' .. str(prev) .. ' ' .. MS .. '\n'
    body = head .. body
    if kind > 0 then
        redis.call('ZADD', E .. 'ended', seq, ch)
    elseif r.ended == 1 then
        redis.call('ZREM', E .. 'ended', ch)
    end
    r.ended = kind > 0 and 1 or 0
    if kind < 2 then
        r.last, r.at = seq, ms
        keep(ch, r, id .. '-0', body, sizes, ttl)
    end
    if r.n > 0 then
        r.used = seq
        if was_idle then redis.call('ZREM', idle_of(ch), ch) end
    elseif was_idle then
        redis.call('ZADD', idle_of(ch), seq, ch)
    end
    local group, effort = group_of(ch), 2000
    local total = group == 'dead:' and DEAD_TOTAL or TOTAL
    if cost_of(group) > total then save() end
    while cost_of(group) > total and effort > 0 do
        local oldest = redis.call('ZRANGE', live_of(ch), 0, 0)[1]
        if oldest then
            lose_oldest(oldest, 'evicted')
        else
            add_cost(ch, -cost_of(group))
        end
        effort = effort - 1
    end
    redis.call('PUBLISH', F .. 'f:' .. ch, live == '' and body or head .. live)
    return seq, prev
end
