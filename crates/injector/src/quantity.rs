//! Kubernetes quantities: `100m`, `0.5`, `128Mi`, `1e3`. Read for comparison only; what is written is what was read.

use std::fmt;

/// A quantity in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u128);

/// A text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidQuantity;

impl fmt::Display for InvalidQuantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("is no quantity such as 100m, 0.5 or 128Mi")
    }
}

impl std::error::Error for InvalidQuantity {}

impl Quantity {
    /// So many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes as u128 * 1000)
    }

    /// Rounded up to a whole number, which is what bytes are.
    #[must_use]
    pub fn to_bytes(self) -> Option<u64> {
        u64::try_from(self.0.div_ceil(1000)).ok()
    }
}

impl std::str::FromStr for Quantity {
    type Err = InvalidQuantity;

    /// Negative quantities mean nothing for resources, and are refused.
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text.find(|byte: char| !byte.is_ascii_digit() && byte != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        // Thousandths of one, as a fraction.
        let (factor, divisor) = scale(suffix).ok_or(InvalidQuantity)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // More digits than a 64-bit number has say nothing about a computer.
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > 20 || fraction.contains('.') {
            return Err(InvalidQuantity);
        }
        let digits: u128 = digits.parse().map_err(|_| InvalidQuantity)?;
        let divisor = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| InvalidQuantity)?) * divisor;
        // As the server rounds: up, so that nothing becomes 0.
        digits.checked_mul(factor).map(|product| Self(product.div_ceil(divisor))).ok_or(InvalidQuantity)
    }
}

fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1000 * 1024_u128.pow(power), 1));
    let decimal = |power: u32| Some((10_u128.pow(3 + power), 1));
    match suffix {
        "" => decimal(0),
        "n" => Some((1, 1_000_000)),
        "u" => Some((1, 1000)),
        "m" => Some((1, 1)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match exponent {
                0..=18 => decimal(exponent.unsigned_abs()),
                -9..=-1 => Some((1000, 10_u128.pow(exponent.unsigned_abs()))),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_server_reads_them() {
        for (text, thousandths) in [
            ("1", 1000),
            ("100m", 100),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("1E-3", 1),
            ("1n", 1),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Quantity(thousandths)), "{text}");
        }
        assert!("128Mi".parse::<Quantity>().unwrap() > "100M".parse().unwrap());
        assert_eq!("1Gi".parse::<Quantity>().unwrap().to_bytes(), Some(1 << 30));
        assert_eq!(Quantity::bytes(1 << 20), "1Mi".parse().unwrap());
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "Mi", "1mi", "-1", "1.2.3", "1 Gi", "lots", "1e99", "123456789012345678901", "1E"] {
            // `1E` is an exabyte, as the server has it.
            assert_eq!(text.parse::<Quantity>().is_ok(), text == "1E", "{text}");
        }
    }
}
