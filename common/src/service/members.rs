//! The members of a chat and their roles.

use super::input::{Fields, FromFields, Unchecked};
use super::{Context, PageQuery, page};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{Member, Page, Role};
use utoipa::ToSchema;

/// The users to add to a group.
#[derive(Clone, Debug, ToSchema)]
pub struct AddMembers {
    /// Users who are members already are skipped.
    #[schema(min_items = 1, max_items = 1000)]
    pub user_ids: Vec<UserId>,
}

impl FromFields for AddMembers {
    fn read(fields: &mut Fields) -> Self {
        Self { user_ids: fields.required("user_ids") }
    }
}

/// A member's new role.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct SetRole {
    /// `owner` or `member`.
    #[schema(value_type = Role)]
    pub role: Option<Role>,
}

impl FromFields for SetRole {
    fn read(fields: &mut Fields) -> Self {
        Self { role: fields.required("role") }
    }
}

/// The members of a chat; members only. `ChatNotFound`, `NotAMember`, `Invalid`.
pub async fn list(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    query: impl Into<Unchecked<PageQuery>>,
) -> Result<Page<Member>> {
    ctx.store.members(chat, by.user_id, &page(query)?).await
}

/// Adds users to a group. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`, `GroupFull`,
/// `Invalid`, `RateLimited`.
pub async fn add(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    body: impl Into<Unchecked<AddMembers>>,
) -> Result<Page<Member>> {
    let (mut body, mut faults) = body.into().split();
    if body.user_ids.is_empty() {
        faults.add("user_ids", "must name at least one user");
    }
    faults.users("user_ids", &body.user_ids);
    faults.none()?;
    body.user_ids.sort_unstable();
    body.user_ids.dedup();
    ctx.charge_people(by, body.user_ids.len()).await?;
    let max = ctx.limits.max_group_members;
    let (items, committed) = ctx.store.add_members(chat, by.user_id, &body.user_ids, max).await?;
    ctx.publisher.publish(committed);
    Ok(Page { items, next_cursor: None })
}

/// Sets a member's role. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`,
/// `MemberNotFound`; `Invalid` if the group would have no owner.
pub async fn set_role(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    user: UserId,
    body: impl Into<Unchecked<SetRole>>,
) -> Result<Member> {
    let (body, faults) = body.into().split();
    faults.none()?;
    let role = body.role.ok_or_else(|| Error::invalid("role", "is required"))?;
    let (member, committed) = ctx.store.set_role(chat, by.user_id, user, role).await?;
    ctx.publisher.publish(committed);
    Ok(member)
}

/// Removes a member. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`, `MemberNotFound`.
pub async fn remove(ctx: &Context, by: &AuthUser, chat: ChatId, user: UserId) -> Result<()> {
    ctx.publisher.publish(ctx.store.remove_member(chat, by.user_id, user).await?);
    Ok(())
}
