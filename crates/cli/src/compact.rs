//! JSON without white space between its tokens, every token byte for byte as it was.

/// The valid JSON `text` without white space outside of strings. Numbers, escapes, order and repeated keys stay.
pub(crate) fn compact(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compacted(text: &str) -> String {
        String::from_utf8(compact(text)).unwrap()
    }

    #[test]
    fn only_what_lies_between_tokens_goes() {
        let text =
            "{ \"a b\" : [ 1.10 , -0e+5,\r\n\ttrue ] , \"q\\\" \\\\\" : \" \\u0020 \",\n\"a b\":null }";
        assert_eq!(compacted(text), r#"{"a b":[1.10,-0e+5,true],"q\" \\":" \u0020 ","a b":null}"#);
    }

    proptest! {
        #[test]
        fn pretty_text_becomes_the_compact_one(
            members in proptest::collection::btree_map("[ a\"\\\\\n\té{}]{0,12}", "[ b\"\\\\\n{\\[]{0,12}", 0..6),
        ) {
            let value = serde_json::json!({ "n": 1.5, "members": members, "list": [members, null] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compacted(&pretty), value.to_string());
        }
    }
}
