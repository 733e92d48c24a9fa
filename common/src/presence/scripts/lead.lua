-- One node sweeps for all: the first that asks, for as long as it asks on.
--
-- KEYS[1]  the claim: `node`, `until` (ms), `online` the users online as that node counted them
-- ARGV[1]  the node that asks
-- ARGV[2]  how long a claim lasts, ms
-- ARGV[3]  how many users it counted online; '' when it did not count
--
-- Answers 1 where that node has the claim, else 0; and the users online, where they were counted.
local key = KEYS[1]
local time = redis.call('TIME')
local now, lasts = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[2])
local node, ends = unpack(redis.call('HMGET', key, 'node', 'until'))
ends = tonumber(ends or '0')
-- A claim that ends later than one can was made by a clock that stepped back since.
local is_free = not node or node == ARGV[1] or now >= ends or ends > now + lasts
if is_free then
    redis.call('HSET', key, 'node', ARGV[1], 'until', now + lasts)
    if ARGV[3] ~= '' then redis.call('HSET', key, 'online', ARGV[3]) end
end
return { is_free and 1 or 0, redis.call('HGET', key, 'online') }
