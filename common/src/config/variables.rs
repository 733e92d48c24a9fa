//! The one table of variables.

use super::Program;

/// One variable: its name, what `--help` says, its default for each program, a good value.
pub struct Variable {
    /// The environment variable; the flag is the same in lower case with dashes.
    pub name: &'static str,
    /// Its meaning, with its unit, for `--help`.
    pub help: &'static str,
    /// A good value, for the error of a bad one.
    pub example: &'static str,
    default: Default,
}

enum Default {
    None,
    /// No value; `--help` says this instead.
    Said(fn(Program) -> &'static str),
    Same(&'static str),
    For(fn(Program) -> &'static str),
}

const fn variable(name: &'static str, default: &'static str, example: &'static str, help: &'static str) -> Variable {
    Variable { name, help, example, default: Default::Same(default) }
}

impl Variable {
    /// The default of that program, if it has one.
    pub fn default(&self, program: Program) -> Option<&'static str> {
        match self.default {
            Default::None | Default::Said(_) => None,
            Default::Same(value) => Some(value),
            Default::For(value) => Some(value(program)),
        }
    }

    /// What `--help` says of the default.
    pub(super) fn default_said(&self, program: Program) -> &'static str {
        match (self.default(program), &self.default) {
            (Some(value), _) if !value.is_empty() => value,
            (_, Default::Said(said)) => said(program),
            _ => "none",
        }
    }

    /// The command-line flag without its dashes.
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }
}

pub(super) const VERSION: &str = "VERSION";

/// All variables, in the order of `--help`.
pub const VARIABLES: &[Variable] = &[
    variable(
        "PROJECT_NAME",
        "MessengerAPI",
        "MessengerAPI",
        "Name of the service, shown in the OpenAPI document and at GET /",
    ),
    variable(
        "DESCRIPTION",
        "API for a messenger",
        "API for a messenger",
        "Description of the service, shown beside its name",
    ),
    variable(
        VERSION,
        env!("CARGO_PKG_VERSION"),
        "1.0.0",
        "Version, shown beside the name; the flag without a value prints the program's and ends",
    ),
    Variable {
        name: "DEBUG",
        help: "on or off; on: readable logs, every origin allowed, weak secrets accepted with a warning",
        example: "true",
        default: Default::Said(|program| match program {
            Program::Messenger => "true while it listens on the loopback only, else false",
            _ => "false",
        }),
    },
    variable(
        "RUST_LOG",
        "info",
        "info,messenger_gateway=debug",
        "Log level (error, warn, info, debug, trace), or tracing directives by module",
    ),
    Variable {
        name: "DATABASE_URL",
        help: "Address of the database: postgresql:// or postgres://; for `messenger` also sqlite:PATH",
        example: "postgresql://messenger:password@127.0.0.1/messenger",
        default: Default::Said(|program| match program {
            Program::Messenger => "a SQLite file in the user's data directory",
            _ => "none, must be given",
        }),
    },
    Variable {
        name: "DATABASE_URL_FILE",
        help: "File with the address of the database, instead of DATABASE_URL",
        example: "/run/secrets/database_url",
        default: Default::None,
    },
    Variable {
        name: "DATABASE_READ_URL",
        help: "Address of a streaming replica for histories, searches and lists; one that lags is passed over",
        example: "postgresql://messenger:password@replica/messenger",
        default: Default::None,
    },
    Variable {
        name: "DB_POOL_SIZE",
        help: "Most connections that this process opens to the database, and as many to a replica",
        example: "16",
        default: Default::For(|program| if program == Program::Gateway { "8" } else { "16" }),
    },
    Variable {
        name: "REDIS_URL",
        help: "Address of Redis: redis:// or rediss://; several, with commas between, mean a Redis Cluster; \
               redis+sentinel://HOST:PORT,…/PRIMARY asks Sentinels",
        example: "redis://127.0.0.1:6379",
        default: Default::For(|program| if program == Program::Messenger { "" } else { "redis://127.0.0.1:6379" }),
    },
    Variable {
        name: "REDIS_URL_FILE",
        help: "File with the address of Redis, instead of REDIS_URL",
        example: "/run/secrets/redis_url",
        default: Default::None,
    },
    Variable {
        name: "TLS_CA_FILE",
        help: "PEM file of authorities for the certificates of Postgres, Redis and a collector, beside the system's",
        example: "/etc/ssl/private-ca.pem",
        default: Default::None,
    },
    variable(
        "MIGRATE",
        "on",
        "on",
        "on: an api brings the database's schema up to date at start; off: it waits until the schema is",
    ),
    Variable {
        name: "SECRET_KEY",
        help: "Key that signs the tokens: at least 32 random bytes, the same on every node",
        example: "$(openssl rand -hex 32)",
        default: Default::Said(|program| match program {
            Program::Messenger => "made at first start and kept beside the database",
            _ => "none, must be given",
        }),
    },
    Variable {
        name: "JWT_PRIVATE_KEY_FILE",
        help: "File with the Ed25519 key that signs the tokens of an api instead of SECRET_KEY (PEM, PKCS#8)",
        example: "/run/secrets/jwt-private.pem",
        default: Default::Said(|_| "none: SECRET_KEY signs"),
    },
    Variable {
        name: "JWT_PUBLIC_KEYS_FILE",
        help: "File with the Ed25519 keys that all programs verify tokens with, each with its kid (JWK set)",
        example: "/run/secrets/jwt-public.json",
        default: Default::Said(|_| "none: SECRET_KEY verifies"),
    },
    Variable {
        name: "SECRET_KEY_FILE",
        help: "File with the key, instead of SECRET_KEY",
        example: "/run/secrets/secret_key",
        default: Default::None,
    },
    Variable {
        name: "HOST",
        help: "IP address that the public listener binds to",
        example: "::",
        default: Default::For(|program| if program == Program::Messenger { "127.0.0.1" } else { "::" }),
    },
    Variable {
        name: "PORT",
        help: "TCP port of the public listener; 0: any free port",
        example: "8000",
        default: Default::For(|program| if program == Program::Gateway { "8001" } else { "8000" }),
    },
    Variable {
        name: "ADMIN_HOST",
        help: "IP address that the listener of /metrics, /healthz, /servez and /readyz binds to",
        example: "127.0.0.1",
        default: Default::Said(|program| match program {
            Program::Messenger => "the loopback",
            _ => "HOST",
        }),
    },
    Variable {
        name: "ADMIN_PORT",
        help: "TCP port of the listener of /metrics, /healthz, /servez and /readyz; 0: any free port",
        example: "9000",
        default: Default::Said(|_| "PORT + 1000"),
    },
    variable("ACCESS_TOKEN_TTL_SECONDS", "900", "900", "Seconds until an access token expires"),
    variable(
        "REFRESH_TOKEN_TTL_SECONDS",
        "2592000",
        "2592000",
        "Seconds until a refresh token expires that is not used",
    ),
    variable("ARGON2_MEMORY_KIB", "19456", "19456", "KiB of memory that one password hash takes (argon2id)"),
    variable(
        "PRESENCE_GRACE_SECONDS",
        "5",
        "5",
        "Seconds from the end of a user's last connection until the user is offline",
    ),
    variable("PRESENCE_LEASE_SECONDS", "15", "15", "Seconds after which the users of a gateway that died are offline"),
    variable(
        "DRAIN_SECONDS",
        "10",
        "10",
        "Seconds over which a stopping gateway closes its connections, and running requests finish",
    ),
    variable(
        "REBALANCE",
        "on",
        "off",
        "on or off; on: a gateway with many more connections than the others hands some over",
    ),
    Variable {
        name: "ALLOWED_ORIGINS",
        help: "Origins whose pages may connect (CORS, WebSocket), with commas between; https://*.example.org: subdomains; *: all",
        example: "https://chat.example.org,https://www.example.org",
        default: Default::Said(|_| "none, with DEBUG: *"),
    },
    Variable {
        name: "TRUSTED_PROXIES",
        help: "Proxies whose X-Forwarded-For counts: IP addresses or CIDR blocks, with commas between",
        example: "10.0.0.0/8,192.168.1.7",
        default: Default::None,
    },
    variable(
        "REGISTRATION",
        "open",
        "invite",
        "open: anybody may register; invite: with an invitation (`messenger invite` makes one); closed: nobody",
    ),
    variable(
        "SEARCH_LANGUAGE",
        "simple",
        "english",
        "Language whose endings a search does not mind (dogs finds dog): english, russian, german, ...; simple: none",
    ),
    variable(
        "LOG_CLIENT_ADDRESSES",
        "off",
        "on",
        "on or off; on: lines of the log that belong to a request have its client's address",
    ),
    Variable {
        name: "OTEL_EXPORTER_OTLP_ENDPOINT",
        help: "Address of an OpenTelemetry collector that takes traces over HTTP; without it there are none",
        example: "http://127.0.0.1:4318",
        default: Default::None,
    },
    variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "http/protobuf",
        "The collector's protocol; there is no other",
    ),
    Variable {
        name: "OTEL_EXPORTER_OTLP_HEADERS",
        help: "Headers for the collector: name=value with commas between, values percent-encoded",
        example: "authorization=Bearer%20KEY",
        default: Default::None,
    },
    variable(
        "OTEL_TRACES_SAMPLER",
        "parentbased_traceidratio",
        "traceidratio",
        "Traces that are sampled: always_on, always_off or traceidratio; behind parentbased_ a caller's traceparent decides",
    ),
    variable("OTEL_TRACES_SAMPLER_ARG", "0.01", "0.01", "The part of the traces that traceidratio samples, 0 to 1"),
    Variable {
        name: "OTEL_SERVICE_NAME",
        help: "Name of this program in traces",
        example: "messenger-api",
        default: Default::Said(Program::name),
    },
    Variable {
        name: "OTEL_RESOURCE_ATTRIBUTES",
        help: "Attributes of this program in traces: name=value with commas between",
        example: "deployment.environment.name=production",
        default: Default::None,
    },
    variable("RATE_LIMITS", "on", "on", "on or off; off: none of the RATE_ limits below holds"),
    Variable {
        name: "GATEWAY_SHARDS",
        help: "Threads that a gateway spreads its connections over (1 to 63)",
        example: "4",
        default: Default::Said(|_| "the number of cores"),
    },
    variable("MAX_MESSAGE_CHARS", "4096", "4096", "Most characters of a message (Unicode scalar values)"),
    variable("MAX_BODY_BYTES", "262144", "262144", "Most bytes of a request's body"),
    variable("MAX_FRAME_BYTES", "65536", "65536", "Most bytes of a WebSocket frame that a client sends"),
    variable("MAX_SUBSCRIPTIONS", "1000", "1000", "Most chats that one connection subscribes to"),
    variable("MAX_SEND_QUEUE_BYTES", "1048576", "1048576", "Most unsent bytes that are queued for one connection"),
    variable("MAX_CONNECTIONS_PER_USER", "20", "20", "Most WebSocket connections of one user on one gateway"),
    variable(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "2000",
        "2000",
        "Most connections of one address (IPv6: its /64) to one process",
    ),
    variable("HEARTBEAT_SECONDS", "25", "25", "Seconds between two pings of a gateway"),
    variable("IDLE_TIMEOUT_SECONDS", "60", "60", "Seconds of silence after which a gateway closes a connection"),
    variable(
        "KEEP_ALIVE_SECONDS",
        "75",
        "75",
        "Seconds that a connection may pause between two HTTP requests; longer than a balancer keeps it",
    ),
    variable("MAX_GROUP_MEMBERS", "100000", "100000", "Most members of a group"),
    variable("STATUS_MAX_MEMBERS", "1000", "1000", "Most members of a chat whose members get user_status events"),
    variable("EVENT_RETENTION_DAYS", "7", "7", "Days that events are kept, so that clients can catch up"),
    variable(
        "RATE_MESSAGES_PER_SECOND",
        "20",
        "20",
        "Messages and other changes that others are notified of, of one user a second",
    ),
    variable("RATE_MESSAGES_BURST", "40", "40", "The same at once, after a rest"),
    variable("RATE_REQUESTS_PER_SECOND", "50", "50", "Other requests of one user a second; public ones of one address"),
    variable("RATE_REQUESTS_BURST", "200", "200", "The same at once, after a rest"),
    variable("RATE_COMMANDS_PER_SECOND", "60", "60", "WebSocket commands that one user may send a second"),
    variable(
        "RATE_FRAMES_PER_SECOND",
        "200",
        "200",
        "WebSocket frames of any kind that one connection may send a second",
    ),
    variable("RATE_LOGINS_PER_MINUTE", "10", "10", "Logins that one address may try a minute"),
    variable("RATE_REGISTRATIONS_PER_MINUTE", "10", "10", "Registrations that one address may try a minute"),
    variable(
        "RATE_WRONG_PASSWORDS_PER_HOUR",
        "30",
        "30",
        "Wrong passwords an hour for one account from all networks that it does not know",
    ),
];

/// The variable of that name.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|v| v.name == name)
}
