-- Lets the members leave that have connections of an owner without a lease, and of no other; see members.lua.
-- ARGV: 5 the owner · 6 how many at most. Gives 1 while some are left.
local owner = ARGV[5]
if is_held(owner) then return 0 end
set_bounds(nil)
for _, key in ipairs(redis.call('SPOP', OF .. owner, num(ARGV[6]))) do
    local ch, id = string.match(key, '^(.-)\n(.*)$')
    local m = load(ch, id)
    if m and m[HOLDERS][owner] then
        m[HOLDERS][owner] = nil
        if next(m[HOLDERS]) then store(ch, id, m) else settle(ch, id, m, 'timeout') end
    end
end
save_members_hooks()
save()
if redis.call('EXISTS', OF .. owner) == 1 then return 1 end
forget_owner('presence', owner)
return 0
