//! JSON objects written member by member, names known to differ.

/// The text of an object without its closing brace; empty before the first member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(String);

impl Fields {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(String::with_capacity(capacity))
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Length of the text: where to [truncate](Self::truncate) to take back what is added from here on.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Adds a member whose value `write` appends as JSON. A name that stands in the code has nothing to escape.
    pub(crate) fn member<T>(&mut self, name: &'static str, write: impl FnOnce(&mut String) -> T) -> T {
        self.separate();
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
        write(&mut self.0)
    }

    /// As [`member`](Self::member), for any name.
    pub(crate) fn named<T>(&mut self, name: &str, write: impl FnOnce(&mut String) -> T) -> T {
        self.separate();
        push_string(&mut self.0, name);
        self.0.push(':');
        write(&mut self.0)
    }

    /// As [`member`](Self::member), for a name that is JSON already.
    pub(crate) fn raw_member<T>(&mut self, name: &str, write: impl FnOnce(&mut String) -> T) -> T {
        self.separate();
        self.0.push_str(name);
        self.0.push(':');
        write(&mut self.0)
    }

    pub(crate) fn string(&mut self, name: &'static str, value: &str) {
        self.member(name, |out| push_string(out, value));
    }

    pub(crate) fn flag(&mut self, name: &'static str, value: bool) {
        self.member(name, |out| out.push_str(if value { "true" } else { "false" }));
    }

    pub(crate) fn number(&mut self, name: &'static str, value: u64) {
        self.member(name, |out| push_number(out, value));
    }

    /// Adds a number with up to three decimals.
    pub(crate) fn thousandths(&mut self, name: &'static str, value: u64) {
        self.member(name, |out| {
            push_number(out, value / 1000);
            let decimals = value % 1000;
            if decimals > 0 {
                let digits = [decimals / 100, decimals / 10 % 10, decimals % 10];
                let last = digits.iter().rposition(|digit| *digit > 0).unwrap_or(0);
                out.push('.');
                out.extend(digits.iter().take(last + 1).map(|digit| char::from(b'0' + *digit as u8)));
            }
        });
    }

    /// The object's text; `None` if it has no members.
    pub(crate) fn finish(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        // Names and strings go through `push_string`, values are written as JSON by whoever adds them.
        Some(self.0)
    }

    fn separate(&mut self) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
    }
}

/// Appends a whole number.
pub(crate) fn push_number(out: &mut String, mut value: u64) {
    const DIGITS: usize = 20;
    let mut digits = [b'0'; DIGITS];
    let mut start = DIGITS;
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[start..]).unwrap_or("0"));
}

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut rest = text;
    while let Some(at) = special(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            byte @ (b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
            byte => {
                out.push_str("\\u00");
                out.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Where the first byte is that a JSON string cannot have as it is. Eight at a time: texts have few.
fn special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES * 0x80;
    let (words, _) = bytes.as_chunks::<8>();
    // A byte's top bit is set where it is below the bound, or zero; a borrow may set one above that: it is looked at again.
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & TOPS;
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        below(word, b' ') | quote | backslash == 0
    };
    let start = words.iter().take_while(|word| is_plain(word)).count() * 8;
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    bytes[start..].iter().position(is_special).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_make_an_object() {
        assert_eq!(Fields::default().finish(), None);
        let mut fields = Fields::default();
        fields.named("a\"", |out| out.push_str("\"b\""));
        for (name, value) in [("c", 1_500), ("d", 20), ("e", 7_000), ("f", 1_001), ("g", u64::MAX)] {
            fields.thousandths(name, value);
        }
        let expected = r#"{"a\"":"b","c":1.5,"d":0.02,"e":7,"f":1.001,"g":18446744073709551.615}"#;
        assert_eq!(fields.finish().unwrap().as_str(), expected);
    }

    #[test]
    fn strings_are_escaped_as_json() {
        let long = "0123456789é".repeat(9);
        for text in ["", "a\"b\\c\n\t\u{1}é\u{7f}", "\u{0}", &long, &format!("{long}\u{1f}{long}\"{long}\\")]
        {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
