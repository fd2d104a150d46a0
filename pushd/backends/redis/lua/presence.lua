-- Changes members. ARGV: 5 owner · 6 the bounds; see members.lua · 7 MessagePack, the changes: of each
-- `hold`, channel, id, meta, connections of the owner, reason, whether it is final, meta of a new member
-- `update`, channel, id, meta
-- `renew`, channel, id, meta, time of the lease, lag
-- `end`, channel, id
-- Gives for each 0, or 1 if there is no such member; false, and does nothing, if the owner has no lease and needs one.
local owner, given = ARGV[5], cmsgpack.unpack(ARGV[7])
for _, c in ipairs(given) do
    if c[1] == 'hold' and not is_held(owner) then return cmsgpack.pack(false) end
end
set_bounds(ARGV[6])
local told = {}
for i, c in ipairs(given) do
    local kind, ch, id = c[1], c[2], c[3]
    local m = kind ~= 'hold' and load(ch, id)
    told[i] = 0
    if kind == 'hold' then
        hold(owner, ch, id, c[4], c[5], c[6], c[7], c[8])
    elseif kind == 'renew' then
        if m then describe(ch, id, m, c[4]) else m = enter(ch, id, c[4]) end
        m[LEASE_END], m[LAST] = ms + c[5], ms
        if c[6] ~= '' then m[LAG] = c[6] end
        store(ch, id, m)
        if not next(m[HOLDERS]) then
            redis.call('ZADD', DUE, str(math.max(m[LEASE_END], m[GRACE_END])), ch .. '\n' .. id)
        end
    elseif not m then
        told[i] = 1
    elseif kind == 'update' then
        describe(ch, id, m, c[4])
    else
        m[LEASE_END], m[GRACE_END] = 0, 0
        if next(m[HOLDERS]) then store(ch, id, m) else settle(ch, id, m, 'client') end
    end
end
save_members_hooks()
save()
return cmsgpack.pack(told)
