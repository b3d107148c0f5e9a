import json

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Print (id, e-mail) of all users."

    def handle(self, **options):
        self.stdout.write(json.dumps(list(get_user_model().objects.values_list("pk", "email"))))
