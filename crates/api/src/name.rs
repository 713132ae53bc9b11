//! Rules for names: of trails, buckets, prefixes, tags.

use crate::error::{Code, Error, quoted};

/// Characters of a trail's name.
pub const TRAIL_NAME: std::ops::RangeInclusive<usize> = 3..=128;
/// Characters of a prefix of keys.
pub const MAX_PREFIX: usize = 200;
/// Characters of a topic's name or ARN.
pub const MAX_TOPIC: usize = 256;
/// Tags of a resource.
pub const MAX_TAGS: usize = 50;
/// Characters of a tag's key and of its value.
pub const MAX_TAG_KEY: usize = 128;
/// See [`MAX_TAG_KEY`].
pub const MAX_TAG_VALUE: usize = 256;

/// Checks the name of a trail.
///
/// # Errors
/// `InvalidTrailNameException`, in CloudTrail's words.
pub fn check_trail(name: &str) -> Result<(), Error> {
    let wrong = |message: String| Err(Error::new(Code::InvalidTrailName, message));
    let length = name.chars().count();
    if length == 0 {
        return wrong("Trail name cannot be blank!".to_owned());
    }
    if length < *TRAIL_NAME.start() {
        return wrong(format!(
            "Trail name too short. Minimum allowed length: 3 characters. Specified name length: {length} characters."
        ));
    }
    if length > *TRAIL_NAME.end() {
        return wrong(format!(
            "Trail name too long. Maximum allowed length: 128 characters. Specified name length: {length} characters."
        ));
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return wrong("Trail name must starts with a letter or number.".to_owned());
    }
    if !name.ends_with(|last: char| last.is_ascii_alphanumeric()) {
        return wrong("Trail name must ends with a letter or number.".to_owned());
    }
    let separator = |it: u8| matches!(it, b'.' | b'_' | b'-');
    if !name.bytes().all(|it| it.is_ascii_alphanumeric() || separator(it)) {
        return wrong(
            "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), \
             hyphens (-), and underscores (_)."
                .to_owned(),
        );
    }
    if name.as_bytes().windows(2).any(|pair| pair.iter().all(|it| separator(*it))) {
        return wrong("Trail name cannot have adjacent periods, hyphens or underscores.".to_owned());
    }
    if is_address(name) {
        return wrong("Trail name cannot be formatted as an IP address.".to_owned());
    }
    Ok(())
}

fn is_address(name: &str) -> bool {
    name.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Checks the name of a bucket, by S3's rules.
///
/// # Errors
/// `InvalidS3BucketNameException`.
pub fn check_bucket(name: &str) -> Result<(), Error> {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    let good = (3..=63).contains(&name.len())
        && name.bytes().all(|it| plain(it) || matches!(it, b'.' | b'-'))
        && name.bytes().next().is_some_and(plain)
        && name.bytes().last().is_some_and(plain)
        && !name.contains("..")
        && !is_address(name);
    if good {
        return Ok(());
    }
    let name = quoted(name);
    Err(Error::new(Code::InvalidS3BucketName, format!("Bucket name {name} is not valid.")))
}

/// Checks a prefix of keys.
///
/// # Errors
/// `InvalidS3PrefixException`.
pub fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.chars().count() > MAX_PREFIX {
        return Err(Error::new(
            Code::InvalidS3Prefix,
            format!("S3 prefix is longer than maximum length: {MAX_PREFIX} characters."),
        ));
    }
    // What keys of log files can have: parts that are not empty, `.` or `..`, and no slash at either end.
    let safe = |it: u8| it.is_ascii_alphanumeric() || b"!-_.()/".contains(&it);
    if prefix.bytes().all(safe) && prefix.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return Ok(());
    }
    let prefix = quoted(prefix);
    Err(Error::new(Code::InvalidS3Prefix, format!("S3 prefix {prefix} is not valid.")))
}

/// Checks a tag.
///
/// # Errors
/// `InvalidTagParameterException`.
pub fn check_tag(key: &str, value: Option<&str>) -> Result<(), Error> {
    let wrong = |message: String| Err(Error::new(Code::InvalidTagParameter, message));
    let allowed =
        |text: &str| text.chars().all(|it| it.is_alphanumeric() || it == ' ' || "_.:/=+-@".contains(it));
    let length = key.chars().count();
    if !(1..=MAX_TAG_KEY).contains(&length) || !allowed(key) {
        return wrong(format!(
            "Tag key {} is not valid: it has 1 to {MAX_TAG_KEY} letters, numbers, spaces and any of _.:/=+-@",
            quoted(key)
        ));
    }
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return wrong("Tag keys that start with aws: are reserved for system use.".to_owned());
    }
    match value {
        Some(value) if value.chars().count() > MAX_TAG_VALUE || !allowed(value) => wrong(format!(
            "The value of tag {} is not valid: it has up to {MAX_TAG_VALUE} letters, numbers, spaces and any of \
             _.:/=+-@",
            quoted(key)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_trails() {
        for good in ["abc", "a.b-c_d", "A12", &"x".repeat(128), "1.2.3"] {
            assert_eq!(check_trail(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("", "blank"),
            ("ab", "too short. Minimum allowed length: 3 characters. Specified name length: 2 characters."),
            (&"x".repeat(129), "too long. Maximum allowed length: 128"),
            ("-ab", "must starts with"),
            ("ab-", "must ends with"),
            ("a..b", "adjacent"),
            ("a.-b", "adjacent"),
            ("a b", "can only contain"),
            ("x'; DROP TABLE trails; --y", "can only contain"),
            ("aäb", "can only contain"),
            ("192.168.5.4", "IP address"),
        ] {
            let error = check_trail(bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidTrailName);
            assert!(error.message.contains(says), "{bad}: {}", error.message);
        }
    }

    #[test]
    fn names_of_buckets_and_prefixes() {
        for good in ["abc", "a.b-c", "0ab"] {
            assert_eq!(check_bucket(good), Ok(()), "{good}");
        }
        for bad in ["ab", "Abc", "a_b", "a..b", "-ab", "ab.", "10.0.0.1", &"a".repeat(64)] {
            assert_eq!(check_bucket(bad).unwrap_err().code, Code::InvalidS3BucketName, "{bad}");
        }
        for good in ["a", "a/b", "a.b(c)!-d_e"] {
            assert_eq!(check_prefix(good), Ok(()), "{good}");
        }
        for bad in ["/a", "a/", "a//b", "../b", "a/../b", "a b", &"a".repeat(201)] {
            assert_eq!(check_prefix(bad).unwrap_err().code, Code::InvalidS3Prefix, "{bad}");
        }
    }

    #[test]
    fn tags() {
        assert_eq!(check_tag("a:b", Some("c d")), Ok(()));
        for (key, value) in [("", None), ("aws:x", None), ("AWS:x", None), ("a;b", None), ("a", Some("b;c"))]
        {
            assert_eq!(check_tag(key, value).unwrap_err().code, Code::InvalidTagParameter, "{key}");
        }
    }
}
