-- Applies the rules of a node to channels, a few at a time.
-- ARGV: 5 age · 6 MessagePack, four values for each channel: its name, messages, bytes and age, 0 for that of all
-- channels · 7 the most messages to remove · 8 a digest of the rules that were applied to all channels, or empty.
-- Gives the digest that was stored before, and the channels that still exceed their bounds.
local RULES = P .. 'rules'
expire(num(ARGV[5]), 100)
save()
local digest, over, left = redis.call('GET', RULES) or '', {}, num(ARGV[7])
if ARGV[8] ~= '' then redis.call('SET', RULES, ARGV[8]) end
local given = cmsgpack.unpack(ARGV[6])
for i = 1, #given, 4 do
    local ch, messages, bytes, age = given[i], given[i + 1], given[i + 2], given[i + 3]
    local r = record(ch)
    if r and r.gone == 0 then
        if r.age ~= age then set_age(ch, r, age) end
        while (r.n > messages or r.b > bytes) and left > 0 do
            lose_oldest(ch, 'evicted')
            left = left - 1
        end
        if r.n > messages or r.b > bytes then over[#over + 1] = ch end
    end
end
save()
return cmsgpack.pack({ digest, over })
