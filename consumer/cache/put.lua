-- Puts entries in, each unless what is there is as new or newer. The stamp of an entry is its first 54 characters.
--
-- KEYS: where. ARGV: one entry for each key; for how many milliseconds they are kept; and the time here, in
-- milliseconds, after which it is too late to put them in (0: it never is).
-- Returns the time here, and then for each key: 0 refused; 1 put, where no order was; 2 put, in place of an order.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local kept, before = ARGV[#KEYS + 1], tonumber(ARGV[#KEYS + 2])
local late = before > 0 and now > before
local done = {now}
for i, key in ipairs(KEYS) do
    local entry = ARGV[i]
    local there = redis.call('GETRANGE', key, 0, 54)
    if not late and string.sub(there, 1, 54) < string.sub(entry, 1, 54) then
        redis.call('SET', key, entry, 'PX', kept)
        done[i + 1] = #there > 54 and 2 or 1
    else
        done[i + 1] = 0
    end
end
return done
