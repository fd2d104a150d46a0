"""A Django project with a login, whose page shows the notifications of its user as they arrive."""
