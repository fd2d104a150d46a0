-- Goes on with a walk over the channels that lost messages: see `begin_walk`.
-- ARGV: 5 the epoch of the walk · 6 the newest change it knows of · 7 the sequence its topics are read behind · 8 below
-- which sequence to go on, or empty · 9 how many channels.
-- Gives whether the walk can go on, the number of the newest change, the channels that have lost messages since, with
-- what they had lost before, and the next channels as `lossy` gives them, with where to go on.
local known = num(ARGV[6])
local gone = cmsgpack.pack({ false, 0, {}, {}, '' })
if ARGV[5] ~= epoch or ms > walk or changes - known > JOURNALED then return gone end
local before = {}
if changes > known then
    local rows = redis.call('XRANGE', E .. 'changes', str(known + 1) .. '-0', '+')
    if #rows ~= changes - known then return gone end
    for _, row in ipairs(rows) do
        local n, f = #before, row[2]
        before[n + 1], before[n + 2], before[n + 3], before[n + 4] = f[2], num(f[4]), num(f[6]), f[8]
    end
end
keep_journal()
local found, more = {}, ''
if ARGV[8] ~= '' then found, more = lossy(num(ARGV[7]), ARGV[8], num(ARGV[9])) end
return cmsgpack.pack({ true, changes, before, found, more })
