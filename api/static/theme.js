/* Light or dark as the user has chosen, before the page is first painted: hence no module. */
(() => {
  'use strict';
  try {
    const theme = localStorage.getItem('messenger.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch { /* where nothing is kept the system decides */ }
})();
