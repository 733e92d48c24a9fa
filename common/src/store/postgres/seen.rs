//! A message as one reader sees it.

// The columns of a message as the user of that parameter sees it: with their own emoji. Nothing is
// read for a message without reactions.
macro_rules! seen_columns {
    ($viewer:literal) => {
        concat!(
            $crate::store::messages::message_columns!(),
            ", case when x.reactions is not null then coalesce((
                 select json_agg(r.emoji)::text from reactions r where r.message_id = x.id and r.user_id = ",
            $viewer,
            "), '[]') end as m_mine"
        )
    };
}
pub(super) use seen_columns;
