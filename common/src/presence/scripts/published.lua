-- What was published lately: `user 1 at decided` each (0: offline), the newest first.
--
-- KEYS[1]  the bucket's `state`
-- ARGV[1]  how far back, ms
-- ARGV[2]  how many at most
local bucket = string.match(KEYS[1], '^(.*):state$')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZREVRANGEBYSCORE', bucket .. ':published', '+inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])
