-- Reports what subjects and addresses have at a node, and grants claims that are within the quotas over all nodes.
-- ARGV: 5 owner · 6 the reports: for each its key, connections, subscriptions, and claims; for each of these connections
-- and subscriptions to add, and how many of both there may be over all nodes, -1 for any number.
-- PREFIX usage:OWNER    hash: by key, connections and subscriptions
-- Gives for each report which claims are granted, and the subscriptions at other nodes; false if the owner has no lease.
local owner, reports = ARGV[5], cmsgpack.unpack(ARGV[6])
local USAGE = P .. 'usage:'
if not is_held(owner) then return cmsgpack.pack(false) end

local keys = {}
for i, report in ipairs(reports) do keys[i] = report[1] end

-- By node and report what it has. A node that has two incarnations for a while has the more of both.
local nodes = {}
for _, each in ipairs(redis.call('SMEMBERS', P .. 'owners:usage')) do
    local node = string.match(each, '^[^:]*')
    if node ~= string.match(owner, '^[^:]*') and is_held(each) then
        local had = nodes[node] or {}
        nodes[node] = had
        for i, value in ipairs(redis.call('HMGET', USAGE .. each, unpack(keys))) do
            local c, s = string.match(value or '', '(%d+) (%d+)')
            had[i] = { math.max(num(c), had[i] and had[i][1] or 0), math.max(num(s), had[i] and had[i][2] or 0) }
        end
    end
end

local function fits(present, added, most) return added == 0 or most < 0 or present + added <= most end

local replies = {}
for i, report in ipairs(reports) do
    local c, s, elsewhere_c, elsewhere_s, granted = report[2], report[3], 0, 0, {}
    for _, had in pairs(nodes) do elsewhere_c, elsewhere_s = elsewhere_c + had[i][1], elsewhere_s + had[i][2] end
    for j, claim in ipairs(report[4]) do
        granted[j] = fits(elsewhere_c + c, claim[1], claim[3]) and fits(elsewhere_s + s, claim[2], claim[4])
        if granted[j] then c, s = c + claim[1], s + claim[2] end
    end
    replies[i] = { granted, elsewhere_s }
    if c == 0 and s == 0 then
        redis.call('HDEL', USAGE .. owner, report[1])
    else
        redis.call('HSET', USAGE .. owner, report[1], str(c) .. ' ' .. str(s))
    end
end
if redis.call('EXISTS', USAGE .. owner) == 1 then note_owner('usage', owner) else forget_owner('usage', owner) end
return cmsgpack.pack(replies)
