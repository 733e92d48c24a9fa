-- How many users of a bucket are online.
--
-- KEYS[1]  the bucket
return redis.call('ZCARD', KEYS[1] .. ':online')
