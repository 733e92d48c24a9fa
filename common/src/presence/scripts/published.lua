-- What was published lately: `user 1 at decided` each (0: offline), the newest first.
--
-- KEYS[1]  the bucket
-- ARGV[1]  how far back, ms
-- ARGV[2]  how many at most
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZREVRANGEBYSCORE', KEYS[1] .. ':published', '+inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])
