// Opens Swagger UI on the program's own document.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  tagsSorter: (a, b) => 0,
  validatorUrl: null,
});
