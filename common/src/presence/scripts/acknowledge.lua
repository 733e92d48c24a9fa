-- These transitions were published.
--
-- KEYS[1]  the bucket's `state`
-- ARGV[1]  how long a publication is remembered, ms
-- ARGV[2]  how many publications are remembered; beyond it the oldest are forgotten
-- ARGV[3…] of each: user, when it was decided (µs), 1 online or 0 offline, since when (ms)
--
-- A later decision about a user stays pending, and is remembered once it is published. A bucket
-- that was emptied since the decision has it pending no longer: it was published all the same.
-- `published` has what was published, `user 1 at decided` (0: offline), score = when (ms).
local bucket = string.match(KEYS[1], '^(.*):state$')
local pending, claims, published = bucket .. ':pending', bucket .. ':claims', bucket .. ':published'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV, 4 do
    local user, decided, is_online, at = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local stands = string.match(redis.call('HGET', pending, user) or '', '^%d %d+ (%d+) ') or '0'
    if tonumber(stands) <= tonumber(decided) then
        redis.call('HDEL', pending, user)
        redis.call('ZREM', claims, user)
        redis.call('ZADD', published, now, user .. ' ' .. is_online .. ' ' .. at .. ' ' .. decided)
    end
end
redis.call('ZREMRANGEBYSCORE', published, '-inf', now - ARGV[1])
redis.call('ZREMRANGEBYRANK', published, 0, -1 - ARGV[2])
redis.call('PEXPIRE', published, ARGV[1])
return redis.status_reply('OK')
