-- Returns the time here in milliseconds, and then what is at each key: nothing, or an entry.
-- KEYS: where. No arguments.

local clock = redis.call('TIME')
local found = {clock[1] * 1000 + math.floor(clock[2] / 1000)}
for i, key in ipairs(KEYS) do
    found[i + 1] = redis.call('GET', key)
end
return found
