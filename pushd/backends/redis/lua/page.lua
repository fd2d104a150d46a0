-- Reads on: the next messages of topics.
-- ARGV: 5 age · 6 the sequence to begin behind · 7 its epoch · 8 how many messages · 9 bytes after which there is no
-- further one · 10 whether any topic is a pattern · 11 up to which sequence only the newest message of each channel is
-- given, without losses; 0 for all messages · 12… topics.
-- Gives epoch, head, unknown, beyond, the facts, how far this page got, whether nothing was left, and of the walk over
-- losses what open.lua gives; then the messages.
local ROWS, EFFORT, LOOKED_UP = 2000, 20000, 4 * 1024 * 1024
guard()
expire(num(ARGV[5]), 100)
save()

local after, count, size, upto = num(ARGV[6]), num(ARGV[8]), num(ARGV[9]), num(ARGV[11])
if ARGV[7] ~= epoch then after, upto = 0, 0 end
local all = facts(12)
local messages, position, complete = {}, seq, true

-- Channels are merged: of each, some messages are read, and what is taken ends where the first of them has more.
local function merge()
    local active = {}
    for i = 12, #ARGV do
        local ch = ARGV[i]
        local r = record(ch)
        if r and r.n > 0 and r.last > after then active[#active + 1] = ch end
    end
    local found, horizon = {}, nil
    local start = str(after + 1) .. '-0'
    for _, ch in ipairs(active) do
        local r = records[ch]
        local by_count = math.ceil(2 * count / #active) + 1
        local by_size = math.ceil(2 * size / #active / (r.b / r.n + 1)) + 1
        local share = math.min(by_count, by_size)
        if #active == 1 then share = math.min(count, by_size) + 1 end
        local rows = redis.call('XRANGE', E .. 's:' .. ch, start, '+', 'COUNT', share)
        for _, row in ipairs(rows) do
            local _, bytes = sizes_of(row[2][4])
            found[#found + 1] = { seq_of(row[1]), bytes, row[2][6] }
        end
        if #rows == share then
            local last = found[#found][1]
            if not horizon or last < horizon then horizon = last end
        end
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    local taken = 0
    for _, each in ipairs(found) do
        if horizon and each[1] > horizon then break end
        if #messages >= count or taken >= size then
            position, complete = num(messages[#messages][1]), false
            return
        end
        messages[#messages + 1] = each
        taken = taken + each[2]
    end
    if horizon then position, complete = horizon, false end
end

-- The newest message of a channel up to `upto`, as far as it is newer than `after`; 0 for none. It is looked up only where
-- the newest message of all is another one, or was lost.
local latest = {}
local function is_newest_known(r)
    return r.n == 0 or (r.last <= upto and r.last > r.lost)
end

local function latest_of(ch)
    local s = latest[ch]
    if s then return s end
    local r = record(ch)
    s = 0
    if r and is_newest_known(r) then
        if r.n > 0 then s = r.last end
    elseif r then
        local row = redis.call('XREVRANGE', E .. 's:' .. ch, str(upto) .. '-0', str(after + 1) .. '-0', 'COUNT', 1)[1]
        if row then
            s, effort = seq_of(row[1]), effort + 1 + math.floor(#row[2][6] / 256)
        end
    end
    latest[ch] = s
    return s
end

-- Bytes of the messages that would be read to look them up for all channels, approximately.
local function lookup_bytes()
    local bytes = 0
    for i = 12, #ARGV do
        local r = record(ARGV[i])
        if r and not is_newest_known(r) then bytes = bytes + r.b / r.n end
    end
    return bytes
end

local function merge_latest()
    local found = {}
    for i = 12, #ARGV do
        local s = not latest[ARGV[i]] and latest_of(ARGV[i]) or 0
        if s > after then found[#found + 1] = { s, ARGV[i] } end
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    local taken, from = 0, after
    for _, each in ipairs(found) do
        if #messages >= count or taken >= size then
            position, complete = from, false
            return
        end
        from = each[1]
        local id = str(from) .. '-0'
        local entry = redis.call('XRANGE', E .. 's:' .. each[2], id, id)[1]
        if entry then
            local _, bytes = sizes_of(entry[2][4])
            messages[#messages + 1] = { from, bytes, entry[2][6] }
            taken = taken + bytes
        end
    end
    position = upto
end

-- With a pattern, or where too much would be looked up, the timeline is gone through, which names the channel of each message.
local function scan()
    local left, taken, from = ROWS, 0, after
    local last = upto > 0 and str(upto) .. '-0' or '+'
    if upto > 0 then position = upto end
    while true do
        local rows = redis.call('XRANGE', T, str(from + 1) .. '-0', last, 'COUNT', 200)
        for _, row in ipairs(rows) do
            local s, ch = seq_of(row[1]), row[2][2]
            if #messages >= count or taken >= size or left <= 0 or effort > EFFORT then
                position, complete = from, false
                return
            end
            from, left = s, left - 1
            if covers(12, ch) and (upto == 0 or latest_of(ch) == s) then
                local id = str(s) .. '-0'
                local entry = redis.call('XRANGE', E .. 's:' .. ch, id, id)[1]
                if entry then
                    local _, bytes = sizes_of(row[2][6])
                    messages[#messages + 1] = { s, bytes, entry[2][6] }
                    taken = taken + bytes
                else
                    local r = record(ch)
                    if r then
                        note_loss(r, s, num(row[2][4]), 'evicted')
                    else
                        unknown, log_dirty = math.max(unknown, s), true
                    end
                end
            end
        end
        if #rows < 200 then return end
    end
end

local has_pattern = ARGV[10] == '1'
if has_pattern or (upto > 0 and lookup_bytes() > LOOKED_UP) then
    scan()
elseif upto > 0 then
    merge_latest()
else
    merge()
end
save()
local answer = { cmsgpack.pack({ epoch, seq, unknown, beyond, all, position, complete, after,
    begin_walk(after, has_pattern and upto == 0) }) }
for i, each in ipairs(messages) do answer[i + 1] = each[3] end
return answer
