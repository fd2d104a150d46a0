-- Which channels have subscribers at which nodes, for the events `occupied` and `vacated` of hooks.
-- PREFIX marks:of:OWNER  set: the channels with subscribers at the node of an owner
-- PREFIX marks:vacant    sorted set: channels whose last mark was removed, by when that is an event, on the lease clock.
--                        So the channels that were reported as occupied are those with marks and those in here
-- PREFIX marks:token     string: changes when Redis has lost the marks
-- PREFIX marks:pause     string: exists while nodes mark their channels again, after a loss
local MARKS_OF, VACANT, TOKEN, PAUSE = P .. 'marks:of:', P .. 'marks:vacant', P .. 'marks:token', P .. 'marks:pause'
local VACATED, KEPT = 3000, 3600000
local markers = redis.call('SMEMBERS', P .. 'owners:marks')

local function is_marked(ch)
    for _, each in ipairs(markers) do
        if redis.call('SISMEMBER', MARKS_OF .. each, ch) == 1 then return true end
    end
    return false
end

-- Called when a mark was removed.
local function begin_vacancy(ch)
    if is_marked(ch) then return end
    redis.call('ZADD', VACANT, 'NX', str(lease_now + VACATED), ch)
    redis.call('PEXPIRE', VACANT, KEPT)
end
