-- Reads members. ARGV: 5 channel · 6 `page`, 7 the id to begin behind, 8 how many · or `count` · or `find`, 7 id · or
-- `seen`, 7 id.
-- Gives of a page epoch, head, members of the channel, whether more follow, and of each its id, since, connections, meta.
local ch, kind = ARGV[5], ARGV[6]
local function row(id, m) return { id, m[SINCE], connections(m), m[META] } end
if kind == 'count' then return redis.call('HLEN', IN .. ch) end
if kind == 'page' then
    local limit, rows = num(ARGV[8]), {}
    local from = ARGV[7] == '' and '-' or '(' .. ARGV[7]
    local ids = redis.call('ZRANGEBYLEX', IDS .. ch, from, '+', 'LIMIT', 0, limit + 1)
    for i = 1, math.min(limit, #ids) do
        local m = load(ch, ids[i])
        if m then rows[#rows + 1] = row(ids[i], m) end
    end
    return cmsgpack.pack({ epoch, seq, redis.call('HLEN', IN .. ch), #ids > limit, rows })
end
local m = load(ch, ARGV[7])
if kind == 'find' then return cmsgpack.pack({ m and row(ARGV[7], m) or nil }) end
if m then
    local is_leased = m[LEASE_END] > ms and not next(m[HOLDERS])
    return cmsgpack.pack({ true, is_leased and m[LAST] or ms, m[LAG] })
end
local last, lag = string.match(redis.call('HGET', SEEN, ch .. '\n' .. ARGV[7]) or '', '^(%d+) (.*)$')
return cmsgpack.pack({ false, num(last), lag or '' })
