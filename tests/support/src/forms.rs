//! One test over several back ends, or over both forms of the messenger.
//!
//! A function that no macro names is dead code, of which the compiler warns: no test is forgotten.

/// Runs each `async fn(T)` of the list over each back end, as `memory::name` and `redis::name`:
///
/// ```text
/// over_each! {
///     #[tokio::test]
///     memory: super::BackEnd::memory(),
///     redis: super::BackEnd::redis().await;
///     the_first_test
///     the_second_test
/// }
/// ```
#[macro_export]
macro_rules! over_each {
    (#[$test:meta] $($back_end:ident: $start:expr),+; $($name:ident)+) => {
        $crate::over_each! { @ #[$test] [$($back_end: $start),+] [$($name)+] }
    };
    (@ #[$test:meta] [$($back_end:ident: $start:expr),+] $names:tt) => {
        $($crate::over_each! { @@ #[$test] $back_end: $start; $names })+
    };
    (@@ #[$test:meta] $back_end:ident: $start:expr; [$($name:ident)+]) => {
        mod $back_end {
            $(
                #[$test]
                async fn $name() {
                    super::$name($start).await;
                }
            )+
        }
    };
}

/// Runs each named `async fn(&Deployment)` twice, as `embedded::name` and as `cluster::name`.
#[cfg(feature = "deployment")]
#[macro_export]
macro_rules! both_forms {
    ($($name:ident),+ $(,)?) => {
        $crate::one_form!(embedded: $($name),+);
        $crate::one_form!(cluster: $($name),+);
    };
}

/// Runs each on that form alone: for what a page does by itself, whatever serves it.
#[cfg(feature = "deployment")]
#[macro_export]
macro_rules! one_form {
    ($form:ident: $($name:ident),+ $(,)?) => {
        mod $form {
            $(
                #[tokio::test]
                async fn $name() {
                    let deployment = $crate::shared::$form().await;
                    $crate::limited(super::$name(&deployment)).await;
                }
            )+
        }
    };
}

/// Runs each named `async fn(Builder)` twice, on a private embedded deployment's builder and on
/// that of a private cluster of two apis and two gateways: for tests that set variables or break
/// things.
#[cfg(feature = "deployment")]
#[macro_export]
macro_rules! both_forms_alone {
    ($($name:ident),+ $(,)?) => {
        mod embedded_alone {
            $(
                #[tokio::test]
                async fn $name() {
                    let builder = $crate::Deployment::embedded();
                    $crate::limited(super::$name(builder)).await;
                }
            )+
        }
        mod cluster_alone {
            $(
                #[tokio::test]
                async fn $name() {
                    let builder = $crate::Deployment::cluster(2, 2);
                    $crate::limited(super::$name(builder)).await;
                }
            )+
        }
    };
}
