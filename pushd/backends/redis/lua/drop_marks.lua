-- Drops marks of a node without a lease; see vacant.lua. ARGV: 5 the owner · 6 how many at most. Gives 1 while some are
-- left.
local owner = ARGV[5]
if is_held(owner) then return 0 end
for _, ch in ipairs(redis.call('SPOP', MARKS_OF .. owner, num(ARGV[6]))) do begin_vacancy(ch) end
if redis.call('EXISTS', MARKS_OF .. owner) == 1 then return 1 end
forget_owner('marks', owner)
return 0
