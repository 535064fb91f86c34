export const job = {
  opens: 'without-login',
  run: (token) => ({ loggedIn: token.module.isUserSession(token.session), serial: token.serial }),
}
