use super::*;

fn by_path(path: &str) -> Asset {
    pages().into_iter().chain(documents()).find(|asset| asset.path() == path).expect(path)
}

#[test]
fn every_document_is_there_and_nothing_comes_from_elsewhere() {
    for path in ["/docs", "/redoc", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/favicon-32x32.png"] {
        assert!(!by_path(path).0.bytes.is_empty(), "{path}");
    }
    let redoc = by_path("/redoc/redoc.standalone.js");
    assert!(redoc.0.bytes.len() > 500_000);
    assert!(!String::from_utf8_lossy(&redoc.0.bytes).contains("cdn.redoc"));
    for path in ["/docs", "/redoc"] {
        let page = by_path(path);
        let text = String::from_utf8_lossy(&page.0.bytes).into_owned();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
        assert!(!text.contains("<script>"), "{path} has an inline script");
    }
}

#[tokio::test]
async fn a_browser_that_has_it_gets_304() {
    let page = by_path("/docs");
    let first = page.answer(&HeaderMap::new()).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert!(first.headers().contains_key(CONTENT_SECURITY_POLICY));
    let tag = first.headers()[ETAG].clone();
    let again = page.answer(&HeaderMap::from_iter([(IF_NONE_MATCH, tag)])).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let other = page.answer(&HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"other\""))])).await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_page_brings_what_paints_it_and_names_what_it_runs() {
    let page = by_path("/websocket_test_new.html");
    let text = String::from_utf8_lossy(&page.0.bytes).into_owned();
    let policy = page.0.policy.as_ref().unwrap().to_str().unwrap();
    assert!(!text.contains("<link rel=\"stylesheet\"") && !text.contains("<script src="), "{text}");
    assert_eq!(policy.matches("'sha256-").count(), text.matches("<style>").count() + text.matches("<script>").count());
    assert!(!policy.contains("unsafe-inline"), "{policy}");
    let release = text.split_once("modulepreload\" href=\"static/").unwrap().1.split('/').next().unwrap().to_owned();
    for module in ["chat.js", "messenger.js", "close.js", "lang_ru.js"] {
        let path = format!("static/{release}/{module}");
        assert_eq!(text.matches(&format!("modulepreload\" href=\"{path}\"")).count(), 1, "{module}");
        let answer = by_path(&format!("/{path}")).answer(&HeaderMap::new()).await;
        assert!(answer.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let answer = by_path(&format!("/static/{module}")).answer(&HeaderMap::new()).await;
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-cache");
    }
    let worker = by_path("/sw.js");
    assert!(String::from_utf8_lossy(&worker.0.bytes).starts_with(&format!("const RELEASE = '{release}';")));
}

#[tokio::test]
async fn text_is_compressed_for_those_who_take_it() {
    let script = by_path("/docs/swagger-ui-bundle.js");
    let accepting = |value| HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
    for refusing in [HeaderMap::new(), accepting("br"), accepting("gzip;q=0"), accepting("gzip; q=0.0, deflate")] {
        let plain = script.answer(&refusing).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(plain.headers()[VARY], "accept-encoding");
    }
    let packed = script.answer(&accepting("deflate, GZIP;q=0.5")).await;
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    assert!(script.packed().await.unwrap().len() * 2 < script.0.bytes.len());
    let tag = packed.headers()[ETAG].clone();
    let again = HeaderMap::from_iter([(IF_NONE_MATCH, tag), (ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
    let again = script.answer(&again).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(!again.headers().contains_key(CONTENT_ENCODING));
    assert!(by_path("/docs/favicon-32x32.png").packed().await.is_none(), "a picture is compressed already");
}

#[tokio::test]
async fn a_page_opens_its_own_sockets_only_and_asks_for_no_device() {
    for path in ["/websocket_test.html", "/websocket_test_new.html"] {
        let answer = by_path(path).answer(&HeaderMap::new()).await;
        let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(!policy.contains("ws:") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("require-trusted-types-for 'script'"), "{policy}");
        assert_eq!(answer.headers()[OPENER_POLICY], "same-origin");
        assert_eq!(answer.headers()[PERMISSIONS_POLICY], NO_DEVICES);
    }
}
