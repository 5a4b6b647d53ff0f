//! The files of `assets`, as one table. A test holds it against the folder.

/// The page itself.
pub const INDEX: &str = include_str!("../assets/index.html");

macro_rules! files {
    ($($name:literal)*) => { &[$(($name, include_bytes!(concat!("../assets/", $name)) as &[u8])),*] };
}

/// Name below the folder of the page's parts, and content.
pub const FILES: &[(&str, &[u8])] = files! {
    "css/base.css"
    "css/cabinet.css"
    "css/charts.css"
    "css/parts.css"
    "css/shell.css"
    "css/tables.css"
    "favicon.svg"
    "js/api.js"
    "js/attention.js"
    "js/cabinet.js"
    "js/cartridge.js"
    "js/chart.js"
    "js/dom.js"
    "js/drives.js"
    "js/exports.js"
    "js/format.js"
    "js/forms.js"
    "js/icons.js"
    "js/jobs.js"
    "js/library_settings.js"
    "js/live.js"
    "js/main.js"
    "js/moves.js"
    "js/needs.js"
    "js/page.js"
    "js/pages.js"
    "js/pages/alerts.js"
    "js/pages/audit.js"
    "js/pages/cartridge.js"
    "js/pages/cartridges.js"
    "js/pages/iscsi.js"
    "js/pages/jobs.js"
    "js/pages/keys.js"
    "js/pages/library.js"
    "js/pages/login.js"
    "js/pages/remotes.js"
    "js/pages/settings.js"
    "js/pages/store.js"
    "js/pages/users.js"
    "js/plans.js"
    "js/rows.js"
    "js/session.js"
    "js/shell.js"
    "js/text.js"
    "js/theme.js"
    "js/transfers.js"
    "js/ui.js"
    "texts.en.json"
};
