//! Paging modes as a command line names them, for commands that run gnomon itself.

use std::fmt;
use std::str::FromStr;

/// A paging mode with its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// `auto`, `nested` or `shadow`.
    pub mmu: String,
    /// The shadow policy, where one is chosen.
    pub policy: Option<String>,
}

/// The shadow policies, the default last.
const POLICIES: [&str; 3] = ["vtlb", "trace", "unsync"];

impl Mode {
    /// The modes that `--mmu LIST` names.
    ///
    /// # Errors
    /// One line that names an unknown one.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, String> {
        list.split(',').map(str::parse).collect()
    }

    /// The same, but `shadow` alone stands for each of its policies, and each mode counts once.
    ///
    /// # Errors
    /// As [`Mode::parse_list`].
    pub fn parse_list_by_policy(list: &str) -> Result<Vec<Self>, String> {
        let mut modes: Vec<Self> = Vec::new();
        for mode in Self::parse_list(list)? {
            let named = if mode.mmu == "shadow" && mode.policy.is_none() {
                Vec::from(POLICIES.map(|policy| Self {
                    mmu: mode.mmu.clone(),
                    policy: Some(policy.into()),
                }))
            } else {
                vec![mode]
            };
            for mode in named {
                if !modes.contains(&mode) {
                    modes.push(mode);
                }
            }
        }
        Ok(modes)
    }

    /// The options of `gnomon run` that choose it.
    pub fn options(&self) -> Vec<String> {
        let mut words = vec!["--mmu".to_owned(), self.mmu.clone()];
        if let Some(policy) = &self.policy {
            words.extend(["--shadow-policy".to_owned(), policy.clone()]);
        }
        words
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mmu, policy) = match text.split_once(':') {
            Some((mmu, policy)) => (mmu, Some(policy)),
            None => (text, None),
        };
        match (mmu, policy) {
            ("auto" | "nested" | "shadow", None) => {}
            ("shadow", Some(policy)) if POLICIES.contains(&policy) => {}
            _ => {
                return Err(format!(
                    "--mmu {text}: there are auto, nested, shadow, shadow:vtlb, shadow:trace and shadow:unsync"
                ));
            }
        }
        Ok(Self {
            mmu: mmu.into(),
            policy: policy.map(Into::into),
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.policy {
            Some(policy) => write!(f, "{}:{policy}", self.mmu),
            None => f.write_str(&self.mmu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(modes: &[Mode]) -> Vec<String> {
        modes.iter().map(Mode::to_string).collect()
    }

    #[test]
    fn list_is_parted_by_commas() {
        let modes = Mode::parse_list("auto,nested,shadow,shadow:vtlb").unwrap();
        assert_eq!(names(&modes), ["auto", "nested", "shadow", "shadow:vtlb"]);
    }

    #[test]
    fn shadow_alone_means_each_policy() {
        let modes = Mode::parse_list_by_policy("nested,shadow").unwrap();
        let expected = ["nested", "shadow:vtlb", "shadow:trace", "shadow:unsync"];
        assert_eq!(names(&modes), expected);
    }

    #[test]
    fn mode_named_twice_counts_once() {
        let modes = Mode::parse_list_by_policy("shadow:trace,shadow,nested,nested").unwrap();
        let expected = ["shadow:trace", "shadow:vtlb", "shadow:unsync", "nested"];
        assert_eq!(names(&modes), expected);
    }

    #[test]
    fn unknown_mode_is_named() {
        assert!(
            Mode::parse_list("nested,magic")
                .unwrap_err()
                .contains("magic")
        );
    }

    #[test]
    fn policy_is_an_option_of_its_own() {
        let mode: Mode = "shadow:trace".parse().unwrap();
        assert_eq!(
            mode.options(),
            ["--mmu", "shadow", "--shadow-policy", "trace"]
        );
    }
}
