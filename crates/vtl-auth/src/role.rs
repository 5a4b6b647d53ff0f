//! Roles and what each of them may do: one table.

use std::fmt;
use std::str::FromStr;

/// What a user is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Runs jobs, moves, exports, imports.
    Operator,
    /// Changes libraries, remotes, keys, iSCSI, pools and users.
    Administrator,
    /// Deletes, gives keys out, changes retention, approves.
    SecurityOfficer,
}

impl Role {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Administrator, Self::SecurityOfficer];

    /// As texts have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
            Self::SecurityOfficer => "security-officer",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Viewer => 1,
            Self::Operator => 2,
            Self::Administrator => 4,
            Self::SecurityOfficer => 8,
        }
    }

    /// Roles that whoever has this one may give, take, and change users with.
    const fn governs(self) -> Roles {
        match self {
            Self::Viewer | Self::Operator => Roles(0),
            Self::Administrator => Roles(1 | 2 | 4),
            Self::SecurityOfficer => Roles(8),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("'{text}' is no role"))
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Every role: the token of the state folder has it.
    pub const ALL: Self = Self(15);
    /// No role.
    pub const NONE: Self = Self(0);

    /// The roles in it.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Whether it has this one.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    /// Whether these may do all that this role may: an operator reads, too.
    #[must_use]
    pub fn covers(self, role: Role) -> bool {
        Self::NONE.with(role).permissions().all(|permission| self.may(permission))
    }

    /// Of these the roles that whoever has `most` covers.
    #[must_use]
    pub fn within(self, most: Self) -> Self {
        self.iter().filter(|role| most.covers(*role)).collect()
    }

    /// What either has.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// No role in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any of the roles may do it.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        let row = TABLE.iter().find(|(listed, _)| *listed == permission);
        row.is_some_and(|(_, columns)| {
            Role::ALL.iter().zip(columns).any(|(role, may)| *may && self.has(*role))
        })
    }

    /// Everything that these roles may do.
    pub fn permissions(self) -> impl Iterator<Item = Permission> {
        TABLE.iter().map(|(permission, _)| *permission).filter(move |permission| self.may(*permission))
    }

    /// Roles that a caller with these may give and take, and whose bearers he may change.
    #[must_use]
    pub fn governs(self) -> Self {
        self.iter().fold(Self::NONE, |all, role| all.or(role.governs()))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Role::word).collect::<Vec<_>>().join(" "))
    }
}

/// What the inventory has: words with a space between them.
impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

/// One thing that a request needs. Each route of the API has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// One's own session, password and tokens.
    Own,
    /// Look at everything that is no secret.
    Read,
    /// Jobs, moves, exports, imports, checks.
    Operate,
    /// Libraries, remotes, keys, iSCSI, pools, the configuration.
    Configure,
    /// Users, and other users' tokens.
    ManageUsers,
    /// The audit log.
    ReadAudit,
    /// Cartridges, pools, exports and keys go for good.
    Destroy,
    /// Keys leave the machine, or exports open for others.
    ExportKeys,
    /// Retention and holds.
    Retain,
    /// Say yes or no to what another has asked for.
    Approve,
}

impl Permission {
    /// As texts have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Configure => "configure",
            Self::ManageUsers => "manage-users",
            Self::ReadAudit => "read-audit",
            Self::Destroy => "destroy",
            Self::ExportKeys => "export-keys",
            Self::Retain => "retain",
            Self::Approve => "approve",
        }
    }

    /// Whether the two-person rule is about it.
    #[must_use]
    pub const fn wants_two_persons(self) -> bool {
        matches!(self, Self::Destroy | Self::ExportKeys | Self::Retain)
    }

    /// The roles that may do it, for who is told that he may not.
    #[must_use]
    pub fn roles(self) -> Roles {
        Role::ALL.into_iter().filter(|role| Roles::NONE.with(*role).may(self)).collect()
    }
}

/// Who may do what: viewer, operator, administrator, security officer.
const TABLE: [(Permission, [bool; 4]); 10] = [
    (Permission::Own, [true, true, true, true]),
    (Permission::Read, [true, true, true, true]),
    (Permission::Operate, [false, true, true, false]),
    (Permission::Configure, [false, false, true, false]),
    (Permission::ManageUsers, [false, false, true, true]),
    (Permission::ReadAudit, [false, false, true, true]),
    (Permission::Destroy, [false, false, false, true]),
    (Permission::ExportKeys, [false, false, false, true]),
    (Permission::Retain, [false, false, false, true]),
    (Permission::Approve, [false, false, false, true]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(role: &str) -> Vec<&'static str> {
        role.parse::<Roles>().unwrap().permissions().map(Permission::word).collect()
    }

    #[test]
    fn each_role_may_do_what_the_page_says_and_nothing_else() {
        assert_eq!(words("viewer"), ["own", "read"]);
        assert_eq!(words("operator"), ["own", "read", "operate"]);
        assert_eq!(
            words("administrator"),
            ["own", "read", "operate", "configure", "manage-users", "read-audit"]
        );
        assert_eq!(
            words("security-officer"),
            ["own", "read", "manage-users", "read-audit", "destroy", "export-keys", "retain", "approve"]
        );
        assert_eq!(words(""), [""; 0]);
        assert_eq!(Roles::ALL.permissions().count(), 10);
    }

    #[test]
    fn an_administrator_governs_all_roles_but_the_one_that_watches_him() {
        let governs = |role: &str| role.parse::<Roles>().unwrap().governs().to_string();
        assert_eq!(governs("administrator"), "viewer operator administrator");
        assert_eq!(governs("security-officer"), "security-officer");
        assert_eq!(governs("viewer operator"), "");
        assert_eq!(Roles::ALL.governs(), Roles::ALL);
    }

    #[test]
    fn a_role_covers_those_that_may_less_and_no_other() {
        let covered = |words: &str| Roles::ALL.within(words.parse().unwrap()).to_string();
        assert_eq!(covered("viewer"), "viewer");
        assert_eq!(covered("operator"), "viewer operator");
        assert_eq!(covered("administrator"), "viewer operator administrator");
        assert_eq!(covered("security-officer"), "viewer security-officer");
        assert_eq!(covered(""), "");
    }

    #[test]
    fn roles_are_kept_as_words_and_a_word_that_is_none_is_named() {
        let both: Roles = "operator security-officer".parse().unwrap();
        assert_eq!(both.to_string(), "operator security-officer");
        assert_eq!("operator root".parse::<Roles>(), Err("'root' is no role".to_owned()));
    }

    #[test]
    fn deletion_key_export_and_retention_want_two_persons_and_nothing_else_does() {
        let two: Vec<_> =
            Roles::ALL.permissions().filter(|p| p.wants_two_persons()).map(Permission::word).collect();
        assert_eq!(two, ["destroy", "export-keys", "retain"]);
    }
}
