//! SendTargets answers.
