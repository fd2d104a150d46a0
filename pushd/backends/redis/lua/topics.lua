-- What the scripts share that read for topics. A topic comes as `=CHANNEL`, as `~PATTERN` in the language of Lua, or as
-- `!PATTERN` where a wildcard in first place does not stand for names of the daemon's own.
local LOSSES_EFFORT = 20000
local covered = {}

local function matches(topic, ch)
    local kind, rest = string.sub(topic, 1, 1), string.sub(topic, 2)
    if kind == '=' then return rest == ch end
    if kind == '!' and string.sub(ch, 1, 1) == '$' then return false end
    return string.find(ch, rest) ~= nil
end

local function covers(first, ch)
    local known = covered[ch]
    if known == nil then
        known = false
        for i = first, #ARGV do
            if matches(ARGV[i], ch) then
                known = true
                break
            end
        end
        covered[ch] = known
    end
    return known
end

local function newest_kept(ch, r)
    if r.n == 0 then return r.lost end
    return seq_of(redis.call('XREVRANGE', E .. 's:' .. ch, '+', '-', 'COUNT', 1)[1][1])
end

-- The newest loss after `after` of all channels of a pattern: sequence, time, reason.
local function pattern_loss(topic, after)
    local offset = 0
    while offset < LOSSES_EFFORT do
        local rows = redis.call('ZREVRANGEBYSCORE', E .. 'lost', '+inf', '(' .. str(after), 'LIMIT', offset, 1000)
        for _, ch in ipairs(rows) do
            if matches(topic, ch) then
                local r = record(ch)
                return r.lost, r.lat, r.why
            end
        end
        if #rows < 1000 then return 0, 0, '' end
        offset = offset + 1000
    end
    local upto = redis.call('ZREVRANGEBYSCORE', E .. 'lost', '+inf', '(' .. str(after), 'WITHSCORES', 'LIMIT', offset, 1)
    return num(upto[2]), ms, upto[2] and 'unknown' or ''
end

-- What has become of each topic: newest loss, its time and reason; 0 unknown, 1 known, 2 deleted; 1 where it has ended;
-- the newest message one has to have heard then.
local function facts(first, after)
    local all = {}
    for i = first, #ARGV do
        local topic = ARGV[i]
        local fact
        if string.sub(topic, 1, 1) == '=' then
            local ch = string.sub(topic, 2)
            local r = record(ch)
            if r then
                local ended = r.gone == 0 and r.ended or 0
                fact = { r.lost, r.lat, r.why, r.gone + 1, ended, ended == 1 and newest_kept(ch, r) or 0 }
            else
                fact = { 0, 0, '', 0, 0, 0 }
            end
        else
            local lost, at, why = pattern_loss(topic, after)
            fact = { lost, at, why, 0, 0, 0 }
        end
        all[#all + 1] = fact
    end
    return all
end
