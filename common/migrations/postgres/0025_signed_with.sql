-- The name of the key that the deployment's tokens were last signed with: a node that has another one
-- says so. It is a key's id, or a digest of the secret.
alter table deployment add column signed_with text;
