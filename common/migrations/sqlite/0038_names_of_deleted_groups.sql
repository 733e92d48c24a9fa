-- An earlier release erased the texts of deleted groups and left their names.
update chats set name = '', description = null where erased = 1;
