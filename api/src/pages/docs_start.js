// Swagger UI takes any `_` of a link to one call for a space of its earlier releases, and warns of
// it. The names of the calls have some, and no spaces.
const linkToOneCall = () => ({
  statePlugins: {
    layout: {
      wrapActions: {
        parseDeepLinkHash: (parse) => (hash) => {
          const { warn } = console;
          console.warn = () => {};
          try {
            return parse(hash);
          } finally {
            console.warn = warn;
          }
        },
      },
    },
  },
});

// Opens Swagger UI on the program's own document.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  plugins: [linkToOneCall],
  tagsSorter: (a, b) => 0,
  validatorUrl: null,
});
