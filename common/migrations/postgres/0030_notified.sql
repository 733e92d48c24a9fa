-- The users whom an event notifies beside those that it names itself, as JSON: the members of a deleted chat. A gateway that
-- did not hear the bus reads it.
alter table events add column notified text;
