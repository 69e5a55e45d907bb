//! `$((…))`: C's integer expressions over shell variables, 64 bits wide.

/// The variables an expression reads and writes.
pub trait Variables {
    /// The value of a variable; an unset one counts as 0.
    fn number(&mut self, name: &[u8]) -> Result<i64, String>;
    /// Sets a variable.
    fn assign(&mut self, name: &[u8], value: i64) -> Result<(), String>;
}

/// The value of an expression.
pub fn evaluate(text: &[u8], variables: &mut dyn Variables) -> Result<i64, String> {
    let mut evaluator = Evaluator {
        text,
        position: 0,
        variables,
        skipping: 0,
        depth: 0,
    };
    evaluator.blanks();
    if evaluator.position == text.len() {
        return Ok(0);
    }
    let value = evaluator.comma()?;
    evaluator.blanks();
    if evaluator.position < text.len() {
        return Err(evaluator.syntax());
    }
    Ok(value)
}

/// An integer as the shell writes it: decimal, `0x…`, `0…`, with a sign.
pub fn parse_number(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    let value = u64::from_str_radix(digits, radix).ok()? as i64;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

struct Evaluator<'a> {
    text: &'a [u8],
    position: usize,
    variables: &'a mut dyn Variables,
    /// Above 0: the value is not needed, so nothing is assigned and no division fails.
    skipping: u32,
    depth: u32,
}

/// Binary operators by rising precedence; of two that start alike the longer one first.
const LEVELS: &[&[&str]] = &[
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Evaluator<'_> {
    fn syntax(&self) -> String {
        format!(
            "arithmetic syntax error: \"{}\"",
            String::from_utf8_lossy(self.text)
        )
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.position += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.position..]
    }

    /// Takes `operator` if it is at hand.
    fn take(&mut self, operator: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(operator.as_bytes());
        if found {
            self.position += operator.len();
        }
        found
    }

    fn comma(&mut self) -> Result<i64, String> {
        let mut value = self.assignment()?;
        while self.take(",") {
            value = self.assignment()?;
        }
        Ok(value)
    }

    fn assignment(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("arithmetic expression nested too deeply".into());
        }
        let value = self.assignment_inner();
        self.depth -= 1;
        value
    }

    fn assignment_inner(&mut self) -> Result<i64, String> {
        self.blanks();
        let start = self.position;
        if let Some(name) = self.name() {
            self.blanks();
            let operators = [
                "<<=", ">>=", "*=", "/=", "%=", "+=", "-=", "&=", "^=", "|=", "=",
            ];
            let operator = operators
                .iter()
                .find(|o| self.rest().starts_with(o.as_bytes()) && !self.rest().starts_with(b"=="));
            if let Some(operator) = operator {
                self.position += operator.len();
                let mut value = self.assignment()?;
                if let Some(binary) = operator.strip_suffix('=').filter(|b| !b.is_empty()) {
                    let old = self.read(&name)?;
                    value = self.apply(binary, old, value)?;
                }
                if self.skipping == 0 {
                    self.variables.assign(&name, value)?;
                }
                return Ok(value);
            }
            self.position = start;
        }
        self.ternary()
    }

    fn ternary(&mut self) -> Result<i64, String> {
        let condition = self.logical_or()?;
        if !self.take("?") {
            return Ok(condition);
        }
        self.skipping += u32::from(condition == 0);
        let yes = self.comma()?;
        self.skipping -= u32::from(condition == 0);
        if !self.take(":") {
            return Err(self.syntax());
        }
        self.skipping += u32::from(condition != 0);
        let no = self.assignment()?;
        self.skipping -= u32::from(condition != 0);
        Ok(if condition != 0 { yes } else { no })
    }

    fn logical_or(&mut self) -> Result<i64, String> {
        let mut value = self.logical_and()?;
        while self.take("||") {
            self.skipping += u32::from(value != 0);
            let right = self.logical_and()?;
            self.skipping -= u32::from(value != 0);
            value = i64::from(value != 0 || right != 0);
        }
        Ok(value)
    }

    fn logical_and(&mut self) -> Result<i64, String> {
        let mut value = self.binary(0)?;
        while self.take("&&") {
            self.skipping += u32::from(value == 0);
            let right = self.binary(0)?;
            self.skipping -= u32::from(value == 0);
            value = i64::from(value != 0 && right != 0);
        }
        Ok(value)
    }

    fn binary(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        loop {
            self.blanks();
            let rest = self.rest();
            let operator = operators.iter().find(|o| {
                let o = o.as_bytes();
                // `|` is not the start of `||`, nor `<` that of `<<`, nor any that of `|=`.
                rest.starts_with(o)
                    && !(o.len() == 1 && rest.get(1) == Some(&o[0]) && b"|&<>".contains(&o[0]))
                    && (rest.get(o.len()) != Some(&b'=') || b"=!<>".contains(&o[0]))
                    && !(o.len() == 2 && o[0] == o[1] && o[0] != b'=' && rest.get(2) == Some(&b'='))
            });
            let Some(operator) = operator else {
                return Ok(left);
            };
            self.position += operator.len();
            let right = self.binary(level + 1)?;
            left = self.apply(operator, left, right)?;
        }
    }

    fn apply(&self, operator: &str, left: i64, right: i64) -> Result<i64, String> {
        Ok(match operator {
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<=" => i64::from(left <= right),
            ">=" => i64::from(left >= right),
            "<" => i64::from(left < right),
            ">" => i64::from(left > right),
            "<<" => left.wrapping_shl(right as u32),
            ">>" => left.wrapping_shr(right as u32),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            _ if right == 0 && self.skipping > 0 => 0,
            _ if right == 0 => return Err("divide by zero".into()),
            "/" => left.wrapping_div(right),
            _ => left.wrapping_rem(right),
        })
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.blanks();
        self.depth += 1;
        if self.depth > 200 {
            return Err("arithmetic expression nested too deeply".into());
        }
        let value = match self.peek() {
            Some(b'+' | b'-')
                if self.text.get(self.position + 1) == Some(&self.text[self.position]) =>
            {
                let step = if self.text[self.position] == b'+' {
                    1
                } else {
                    -1
                };
                self.position += 2;
                self.blanks();
                let name = self.name().ok_or_else(|| self.syntax())?;
                self.step(&name, step)
            }
            Some(sign @ (b'-' | b'+' | b'!' | b'~')) => {
                self.position += 1;
                let value = self.unary()?;
                Ok(match sign {
                    b'-' => value.wrapping_neg(),
                    b'+' => value,
                    b'!' => i64::from(value == 0),
                    _ => !value,
                })
            }
            _ => self.primary(),
        };
        self.depth -= 1;
        value
    }

    fn step(&mut self, name: &[u8], step: i64) -> Result<i64, String> {
        let value = self.read(name)?.wrapping_add(step);
        if self.skipping == 0 {
            self.variables.assign(name, value)?;
        }
        Ok(value)
    }

    fn primary(&mut self) -> Result<i64, String> {
        if self.take("(") {
            let value = self.comma()?;
            if !self.take(")") {
                return Err(self.syntax());
            }
            return Ok(value);
        }
        if let Some(name) = self.name() {
            let value = self.read(&name)?;
            for (operator, step) in [("++", 1), ("--", -1)] {
                if self.take(operator) {
                    self.step(&name, step)?;
                }
            }
            return Ok(value);
        }
        let start = self.position;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
            self.position += 1;
        }
        parse_number(&self.text[start..self.position]).ok_or_else(|| self.syntax())
    }

    fn name(&mut self) -> Option<Vec<u8>> {
        let rest = self.rest();
        if !super::lexer::starts_name(*rest.first()?) {
            return None;
        }
        let length = rest
            .iter()
            .take_while(|&&b| super::lexer::in_name(b))
            .count();
        let name = rest[..length].to_vec();
        self.position += length;
        Some(name)
    }

    fn read(&mut self, name: &[u8]) -> Result<i64, String> {
        self.variables.number(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    impl Variables for HashMap<Vec<u8>, i64> {
        fn number(&mut self, name: &[u8]) -> Result<i64, String> {
            Ok(self.get(name).copied().unwrap_or(0))
        }
        fn assign(&mut self, name: &[u8], value: i64) -> Result<(), String> {
            self.insert(name.to_vec(), value);
            Ok(())
        }
    }

    fn eval(text: &str) -> Result<i64, String> {
        evaluate(text.as_bytes(), &mut HashMap::from([(b"x".to_vec(), 5)]))
    }

    #[test]
    fn expressions_have_c_values() {
        for (text, value) in [
            ("", 0),
            ("1+2*3", 7),
            ("(1+2)*3", 9),
            ("-7/2", -3),
            ("-7%3", -1),
            ("1<<4|1", 17),
            ("2<3&&3<2", 0),
            ("!0", 1),
            ("~0", -1),
            ("x?10:20", 10),
            ("x=3,x*x", 9),
            ("x+=2", 7),
            ("x++ + x", 11),
            ("0x1f+010", 39),
            ("0&&1/0", 0),
            ("1||(x=9)", 1),
            ("9223372036854775807+1", i64::MIN),
            ("5 - -3", 8),
            ("x<<=1", 10),
            ("a==0", 1),
        ] {
            assert_eq!(eval(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn wrong_expressions_are_errors() {
        for text in ["1+", "(1", "1/0", "1 2", "08", "$"] {
            assert!(eval(text).is_err(), "{text}");
        }
        assert!(eval(&"(".repeat(10_000)).is_err());
    }
}
