-- These transitions were published.
--
-- KEYS[1]  the bucket
-- ARGV[1]  how long a publication is remembered, ms
-- ARGV[2]  how many publications are remembered; beyond it the oldest are forgotten
-- ARGV[3…] user, when it was decided (µs), user, when, …
--
-- A later decision about a user stays pending. `published` has what was published, `user 1 at
-- decided` (0: offline), score = when (ms).
local pending, claims, published = KEYS[1] .. ':pending', KEYS[1] .. ':claims', KEYS[1] .. ':published'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV, 2 do
    local transition, decided = string.match(redis.call('HGET', pending, ARGV[i]) or '', '^(%d %d+ (%d+)) ')
    if decided == ARGV[i + 1] then
        redis.call('HDEL', pending, ARGV[i])
        redis.call('ZREM', claims, ARGV[i])
        redis.call('ZADD', published, now, ARGV[i] .. ' ' .. transition)
    end
end
redis.call('ZREMRANGEBYSCORE', published, '-inf', now - ARGV[1])
redis.call('ZREMRANGEBYRANK', published, 0, -1 - ARGV[2])
redis.call('PEXPIRE', published, ARGV[1])
return redis.status_reply('OK')
