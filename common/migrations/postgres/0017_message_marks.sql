-- What a message bears, as JSON: [[emoji, count], …] in the order of the first, and [user_id, …].
-- None: nothing, and nothing is read for it.
alter table messages add column reactions text, add column mentions text;
