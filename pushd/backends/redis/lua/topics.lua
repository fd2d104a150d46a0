-- What the scripts share that read for topics. A topic is passed as it is: patterns are those with a `*`.
--
-- Patterns form a tree of segments. A set of tree nodes that the same segments lead to is a state, and the transitions
-- between states are kept while the script runs, so that a channel costs one lookup per segment however many patterns
-- overlap. `effort` counts every node that is looked at; what calls `covers` in a loop stops when too many were.
local WALK_MS, JOURNALED = 10000, 5000
local effort = 0
local covered, exact, starts = {}, {}, nil

local function state_of(nodes)
    effort = effort + #nodes
    local state = { nodes = nodes, next = {}, ends = false, rests = false }
    for _, node in ipairs(nodes) do
        if node.ends then state.ends = true end
        if node.rests then state.rests = true end
    end
    return state
end

local function node_of()
    return { literals = {} }
end

local function build(first)
    local root = node_of()
    for i = first, #ARGV do
        local topic = ARGV[i]
        if not string.find(topic, '*', 1, true) then
            exact[topic] = true
        else
            local node = root
            for segment in string.gmatch(topic, '[^/]+') do
                if segment == '**' then
                    node.rests = true
                elseif segment == '*' then
                    node.any = node.any or node_of()
                    node = node.any
                else
                    node.literals[segment] = node.literals[segment] or node_of()
                    node = node.literals[segment]
                end
            end
            -- A `**` is a last segment of its own and ends nowhere.
            if string.sub(topic, -2) ~= '**' then node.ends = true end
        end
    end
    -- A wildcard in first place does not stand for names that begin with `$`.
    starts = { all = state_of({ root }), reserved = state_of({ { literals = root.literals } }) }
end

local function step(state, segment)
    local following = state.next[segment]
    if following then return following end
    local nodes, is_named = {}, false
    for _, node in ipairs(state.nodes) do
        if node.any then nodes[#nodes + 1] = node.any end
        if node.literals[segment] then
            nodes[#nodes + 1] = node.literals[segment]
            is_named = true
        end
    end
    effort = effort + #state.nodes
    if is_named then
        following = state_of(nodes)
        state.next[segment] = following
    else
        -- All segments that no pattern names lead to the same state.
        following = state.other or state_of(nodes)
        state.other = following
    end
    return following
end

local function match(ch)
    if exact[ch] then return true end
    local state = string.sub(ch, 1, 1) == '$' and starts.reserved or starts.all
    for segment in string.gmatch(ch, '[^/]+') do
        effort = effort + 1
        if state.rests then return true end
        state = step(state, segment)
        if #state.nodes == 0 then return false end
    end
    return state.ends
end

local function covers(first, ch)
    if not starts then build(first) end
    local known = covered[ch]
    if known == nil then
        known = match(ch)
        covered[ch] = known
    end
    return known
end

local function newest_kept(ch, r)
    if r.n == 0 then return r.lost end
    return seq_of(redis.call('XREVRANGE', E .. 's:' .. ch, '+', '-', 'COUNT', 1)[1][1])
end

-- What has become of each channel that is named: newest loss, its time and reason; 0 unknown, 1 known, else the sequence
-- at which it was deleted; 1 where it has ended; the newest message one has to have heard then; how many messages are
-- kept. Of a pattern it says nothing: see `lossy`.
local function facts(first)
    local all = {}
    for i = first, #ARGV do
        local topic = ARGV[i]
        local r = not string.find(topic, '*', 1, true) and checked(topic)
        if r then
            local ended = r.gone == 0 and r.ended or 0
            local newest = ended == 1 and newest_kept(topic, r) or 0
            all[#all + 1] = { r.lost, r.lat, r.why, math.max(r.gone, 1), ended, newest, r.n }
        else
            all[#all + 1] = { 0, 0, '', 0, 0, 0, 0 }
        end
    end
    return all
end

-- Lets losses be journaled for a while. What was not journaled before leaves a hole among the numbers.
local function keep_journal()
    if ms > walk then changes = changes + 1 end
    walk = ms + WALK_MS
    redis.call('HSET', LOG, 'walk', walk, 'changes', changes)
end

-- The channels that lost messages newer than `after`, the newest loss first: channel, sequence, time and reason of each
-- in one list; and below which sequence to go on, empty where there are no more. To be called after `save`.
local function lossy(after, below, most)
    local rows = redis.call('ZREVRANGEBYSCORE', E .. 'lost', below, '(' .. str(after), 'WITHSCORES', 'LIMIT', 0, most)
    local found = {}
    for i = 1, #rows, 2 do
        local r = redis.call('HMGET', E .. 'c:' .. rows[i], 'lat', 'why')
        local n = #found
        found[n + 1], found[n + 2], found[n + 3], found[n + 4] = rows[i], num(rows[i + 1]), num(r[1]), r[2] or 'unknown'
    end
    return found, #rows < 2 * most and '' or '(' .. rows[#rows]
end

-- Begins a walk: the number of the newest change, and the first of these channels. Where there are more of them, losses
-- are journaled from now on, so that the walk may go on later as if it were now.
local function begin_walk(after, has_pattern)
    if not has_pattern then return 0, {}, '' end
    local found, more = lossy(after, '+inf', 200)
    if more ~= '' then keep_journal() end
    return changes, found, more
end
