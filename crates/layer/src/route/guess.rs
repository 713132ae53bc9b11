//! What a route may have been, from a path alone.

/// `/orders/17` is `/orders/{orderId}`.
pub(super) fn template(path: &str) -> String {
    let mut template = String::with_capacity(path.len() + 8);
    let mut owner = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        template.push('/');
        if is_word(segment) {
            template.push_str(segment);
            owner = segment;
        } else {
            template.push('{');
            template.push_str(&crate::name::id_of(owner));
            template.push('}');
        }
    }
    if template.is_empty() {
        template.push('/');
    }
    template
}

/// Whether a value can be no secret, whatever it is.
pub(super) fn is_plain(value: &str) -> bool {
    is_number(value) || is_uuid(value)
}

/// A segment that somebody wrote into a route, as far as one can tell: few digits, no odd characters, not long, and not
/// the mixed case of generated ids. `:` is for actions such as `orders:batchGet`.
fn is_word(segment: &str) -> bool {
    const MAX_WORD: usize = 32;
    let count = |test: fn(&u8) -> bool| segment.bytes().filter(test).count();
    let (digits, upper, lower) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let others = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    let long_hex = segment.len() >= 16 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    others && segment.len() <= MAX_WORD && digits <= 2 && upper <= 3 && lower > 0 && !long_hex
}

fn is_number(value: &str) -> bool {
    value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
