//! Shell variables: values, export and read-only marks, and the scopes that `local` opens.

use std::collections::BTreeMap;

/// A variable.
#[derive(Clone, Debug, Default)]
pub struct Variable {
    /// `None`: unset, but perhaps marked.
    pub value: Option<Vec<u8>>,
    /// Handed on to programs.
    pub exported: bool,
    /// Cannot be changed.
    pub readonly: bool,
}

/// All variables.
#[derive(Default)]
pub struct Variables {
    table: BTreeMap<Vec<u8>, Variable>,
    /// For each running function, what its local variables hid.
    scopes: Vec<Vec<(Vec<u8>, Option<Variable>)>>,
}

impl Variables {
    /// The variables of an environment of `NAME=value` strings.
    pub fn from_environment(environment: Vec<Vec<u8>>) -> Self {
        let mut variables = Variables::default();
        for entry in environment {
            let Some(at) = entry.iter().position(|&b| b == b'=') else {
                continue;
            };
            if super::lexer::is_name(&entry[..at]) {
                let variable = Variable {
                    value: Some(entry[at + 1..].to_vec()),
                    exported: true,
                    readonly: false,
                };
                variables.table.insert(entry[..at].to_vec(), variable);
            }
        }
        variables
    }

    /// The value, if set.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.table.get(name)?.value.as_deref()
    }

    /// Sets the value; fails if the variable is read-only.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let variable = self.writable(name)?;
        variable.value = Some(value.to_vec());
        Ok(())
    }

    fn writable(&mut self, name: &[u8]) -> Result<&mut Variable, String> {
        let variable = self.table.entry(name.to_vec()).or_default();
        if variable.readonly {
            return Err(format!("{}: is read only", String::from_utf8_lossy(name)));
        }
        Ok(variable)
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: &[u8]) -> Result<(), String> {
        self.writable(name)?;
        self.table.remove(name);
        Ok(())
    }

    /// Marks a variable for export.
    pub fn export(&mut self, name: &[u8], exported: bool) {
        self.table.entry(name.to_vec()).or_default().exported = exported;
    }

    /// Marks a variable as read-only.
    pub fn make_readonly(&mut self, name: &[u8]) {
        self.table.entry(name.to_vec()).or_default().readonly = true;
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Variable)> {
        self.table.iter().map(|(name, v)| (&name[..], v))
    }

    /// The environment for a program: exported variables, `extra` ones on top.
    pub fn environment(&self, extra: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
        let mut merged: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (name, variable) in &self.table {
            if let (true, Some(value)) = (variable.exported, &variable.value) {
                merged.insert(name, value);
            }
        }
        for (name, value) in extra {
            merged.insert(name, value);
        }
        merged
            .iter()
            .map(|(n, v)| [n, &b"="[..], v].concat())
            .collect()
    }

    /// Enters a function.
    pub fn open_scope(&mut self) {
        self.scopes.push(Vec::new());
    }

    /// Leaves a function: its local variables give way to what they hid.
    pub fn close_scope(&mut self) {
        for (name, hidden) in self.scopes.pop().unwrap_or_default().into_iter().rev() {
            match hidden {
                Some(variable) => self.table.insert(name, variable),
                None => self.table.remove(&name),
            };
        }
    }

    /// Makes `name` local to the running function; false outside of functions.
    pub fn localize(&mut self, name: &[u8]) -> bool {
        let Some(scope) = self.scopes.last_mut() else {
            return false;
        };
        if !scope.iter().any(|(known, _)| known == name) {
            scope.push((name.to_vec(), self.table.get(name).cloned()));
        }
        true
    }

    /// Remembers a variable, to bring it back with [`Variables::restore`].
    pub fn remember(&self, name: &[u8]) -> Option<Variable> {
        self.table.get(name).cloned()
    }

    /// Brings a remembered variable back.
    pub fn restore(&mut self, name: &[u8], remembered: Option<Variable>) {
        match remembered {
            Some(variable) => self.table.insert(name.to_vec(), variable),
            None => self.table.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_variables_end_with_their_scope() {
        let mut v = Variables::default();
        v.set(b"x", b"outer").unwrap();
        v.open_scope();
        assert!(v.localize(b"x") && v.localize(b"y"));
        v.set(b"x", b"inner").unwrap();
        v.set(b"y", b"new").unwrap();
        v.close_scope();
        assert_eq!(v.get(b"x"), Some(&b"outer"[..]));
        assert_eq!(v.get(b"y"), None);
        assert!(!v.localize(b"x"));
    }

    #[test]
    fn read_only_variables_stay() {
        let mut v = Variables::default();
        v.set(b"x", b"1").unwrap();
        v.make_readonly(b"x");
        assert!(v.set(b"x", b"2").is_err() && v.unset(b"x").is_err());
    }

    #[test]
    fn environment_prefers_the_command_s_own() {
        let v = Variables::from_environment(vec![b"A=1".to_vec(), b"B=2".to_vec()]);
        let env = v.environment(&[(b"B".to_vec(), b"3".to_vec())]);
        assert_eq!(env, [b"A=1".to_vec(), b"B=3".to_vec()]);
    }
}
