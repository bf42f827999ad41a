//! Which of the two formats of the metrics a client accepts.

use http::{HeaderMap, header};

/// A client's preference for a format: its weight (in thousandths), whether the client names it,
/// and how early it is in the list.
type Wish = (u16, bool, std::cmp::Reverse<usize>);

/// Whether the client prefers the OpenMetrics text format to the Prometheus text format, which is
/// the default.
pub(super) fn prefers_openmetrics(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<Range> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    let openmetrics = wish(&ranges, "application", "openmetrics-text", &["1.0.0"]);
    let prometheus = wish(&ranges, "text", "plain", &["0.0.4"]);
    let (quality, ..) = openmetrics;
    quality > 0 && openmetrics > prometheus
}

/// The preference in the most specific range that matches the format.
fn wish(ranges: &[Range], kind: &str, subtype: &str, versions: &[&str]) -> Wish {
    let matching = ranges.iter().enumerate().filter_map(|(index, range)| {
        let by_name = range.kind == kind && range.subtype == subtype;
        let version_fits = range
            .version
            .as_deref()
            .is_none_or(|version| versions.contains(&version));
        let matches = match (&*range.kind, &*range.subtype) {
            ("*", "*") => true,
            (kind_wanted, "*") => kind_wanted == kind,
            _ => by_name && version_fits,
        };
        let specific = (by_name, range.kind != "*");
        matches.then_some((specific, (range.quality, by_name, std::cmp::Reverse(index))))
    });
    let best = matching.max();
    best.map_or((0, false, std::cmp::Reverse(usize::MAX)), |(_, wish)| wish)
}

/// One element of `Accept`; RFC 9110, section 12.5.1.
struct Range {
    kind: String,
    subtype: String,
    version: Option<String>,
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            version: None,
            quality: 1000,
        };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value.to_owned()),
                "q" => range.quality = quality(value)?,
                _ => {}
            }
        }
        Some(range)
    }
}

fn quality(text: &str) -> Option<u16> {
    let quality = text.parse::<f32>().ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0 to 1000"
    )]
    (0.0..=1.0)
        .contains(&quality)
        .then_some((quality * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_the_client_wants_most() {
        let check = |accept: &[&str], expected: bool| {
            let headers = accept
                .iter()
                .map(|value| (header::ACCEPT, value.parse().unwrap()));
            let headers = HeaderMap::from_iter(headers);
            assert_eq!(prefers_openmetrics(&headers), expected, "{accept:?}");
        };
        // curl, browsers, and clients without the header.
        check(&[], false);
        check(&["*/*"], false);
        check(&[""], false);
        check(
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            false,
        );
        // Prometheus 2.
        check(
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            true,
        );
        check(&["text/plain;version=0.0.4;q=1,*/*;q=0.1"], false);
        // Prometheus 3.
        check(
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
                 escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
            true,
        );
        check(
            &[
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;q=0.6,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
            true,
        );
        check(
            &[
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;\
                 q=0.5,*/*;q=0.2",
            ],
            false,
        );
        // The format is chosen by name, by order and by weight.
        check(&["application/openmetrics-text"], true);
        check(&["APPLICATION/OpenMetrics-Text; Version=\"1.0.0\""], true);
        check(&["application/*"], true);
        check(&["text/*"], false);
        check(&["text/plain, application/openmetrics-text"], false);
        check(&["application/openmetrics-text, text/plain"], true);
        check(
            &["application/openmetrics-text;q=0.5, text/plain;q=0.6"],
            false,
        );
        check(&["application/openmetrics-text;q=0, */*"], false);
        check(&["application/openmetrics-text;q=0"], false);
        check(
            &["application/openmetrics-text;q=0.0, text/plain;q=0"],
            false,
        );
        check(&["application/*;q=0"], false);
        check(&["text/plain;q=0, */*;q=0.1"], true);
        check(&["text/plain;q=0.5", "application/openmetrics-text"], true);
        // Formats that the gateway does not have.
        check(&["application/openmetrics-text;version=2.0.0"], false);
        check(&["application/json"], false);
        check(&["nonsense;;=,/,q=2, text/plain;q=9"], false);
    }
}
