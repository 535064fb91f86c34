/** Says what it was given and what it sees. */
export const job = {
  opens: 'logged-in',
  run(token, { args, hsm, progress }) {
    progress('open')
    return {
      args,
      hsm,
      label: token.label,
      loggedIn: token.module.isUserSession(token.session),
      environment: Object.keys(process.env),
    }
  },
}
