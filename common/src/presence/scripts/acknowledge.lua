-- These transitions were published.
--
-- KEYS[1]  the bucket
-- ARGV     user, when it was decided (µs), user, when, …
--
-- A later decision about a user stays pending.
local pending, claims = KEYS[1] .. ':pending', KEYS[1] .. ':claims'
for i = 1, #ARGV, 2 do
    local decided = string.match(redis.call('HGET', pending, ARGV[i]) or '', '^%d %d+ (%d+) ')
    if decided == ARGV[i + 1] then
        redis.call('HDEL', pending, ARGV[i])
        redis.call('ZREM', claims, ARGV[i])
    end
end
return redis.status_reply('OK')
